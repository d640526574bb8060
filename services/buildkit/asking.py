"""A build's client, asked over its session: secrets, and the way to its SSH agents.

Source: BuildKit, session/secrets and session/sshforward.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from protos.generated.moby.buildkit.secrets.v1 import GetSecretRequest
from protos.generated.moby.sshforward.v1 import BytesMessage, CheckAgentRequest
from services.errors import EngineError, NotFound, NotSupported, Unavailable, single_error
from services.grpc.stream import Stream

from .methods import CHECK_AGENT, FORWARD_AGENT, GET_SECRET
from .sessions import Session

AGENT_ID: Final = "buildkit.ssh.id"  # metadata of ForwardAgent
MAX_CONNECTIONS: Final = 16  # of one command, to its agent
READ_BYTES: Final = 32 * 1024


class SessionClient:
    """See `services.build.client.BuildClient`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def secret(self, id_: str) -> bytes | None:
        """Asks the client; what it does not have is None."""
        try:
            reply = await self._session.call(GET_SECRET, GetSecretRequest(id=id_))
        except (NotFound, NotSupported):
            return None
        return reply.data

    def ssh_agent(self, id_: str, path: Path) -> AbstractAsyncContextManager[bool]:
        """A socket whose connections lead to the client's agent."""
        return self._ssh_agent(id_, path)

    @asynccontextmanager
    async def _ssh_agent(self, id_: str, path: Path) -> AsyncIterator[bool]:
        try:
            await self._session.call(CHECK_AGENT, CheckAgentRequest(id=id_))
        except (Unavailable, NotSupported, NotFound):
            raise
        except EngineError:  # it has no agent of that name: gRPC's status is UNKNOWN
            yield False
            return
        listener = await trio.to_thread.run_sync(_listen, path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, listener, id_)
            yield True
            nursery.cancel_scope.cancel()

    async def _accept(self, listener: socket.socket, id_: str) -> None:
        slots = trio.CapacityLimiter(MAX_CONNECTIONS)
        with trio.socket.from_stdlib_socket(listener) as accepting:
            async with trio.open_nursery() as nursery:
                while True:
                    async with slots:  # no more are taken while all are in use
                        pass
                    connection, _ = await accepting.accept()
                    nursery.start_soon(self._forward, trio.SocketStream(connection), id_, slots)

    async def _forward(
        self, connection: trio.SocketStream, id_: str, slots: trio.CapacityLimiter
    ) -> None:
        gone = (EngineError, trio.BrokenResourceError, trio.ClosedResourceError)
        with suppress(*gone), single_error():
            async with (
                slots,
                connection,
                self._session.stream(FORWARD_AGENT, [(AGENT_ID, id_)]) as stream,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_to_agent, connection, stream)
                while (message := await stream.receive()) is not None:
                    await connection.send_all(message.data)
                nursery.cancel_scope.cancel()


async def _to_agent(
    connection: trio.SocketStream, stream: Stream[BytesMessage, BytesMessage]
) -> None:
    while data := await connection.receive_some(READ_BYTES):
        await stream.send(BytesMessage(data=data))
    await stream.send(BytesMessage(), end=True)


def _listen(path: Path) -> socket.socket:
    """A listening socket at a path of any length. Blocks."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        listener.listen(MAX_CONNECTIONS)
    finally:
        os.close(directory)
    listener.setblocking(False)
    return listener
