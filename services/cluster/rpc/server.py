"""The swarm port of a manager."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Mapping
from typing import Any, Final

import trio
import trio_asyncio
from grpclib.const import Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from loguru import logger

from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.rpc.tls import server_context

BACKLOG: Final = 256
CLOSE_LIMIT_S: Final = 2.0

log = logger.bind(service="cluster.rpc")


class _Mapped:
    """What grpclib wants of a set of handlers."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def __mapping__(self) -> dict[str, Handler]:
        """By route."""
        return dict(self._handlers)


class _Server(Server):
    """grpclib's server, which leaves connections open when it is closed; this one does not."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        super().__init__([_Mapped(handlers)])
        self._protocols: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def close(self) -> None:
        """Stop listening, end calls, close connections."""
        super().close()
        for protocol in tuple(self._protocols):
            if hasattr(protocol, "connection"):  # it has been made
                protocol.connection.close()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol


class SwarmServer:
    """Answers on one listening socket, which it does not close. `run` is a supervised child.

    Whenever the node's credentials change it starts over with them: connections end, and nodes come
    back with new sessions. That happens once in weeks.
    """

    def __init__(
        self, listener: socket.socket, keeper: CredentialKeeper, handlers: Mapping[str, Handler]
    ) -> None:
        self._listener = listener
        self._keeper = keeper
        self._handlers = handlers

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(_report)
            while True:
                changed = self._keeper.changed
                server = await self._start()
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                try:
                    await changed.wait()
                finally:
                    server.close()
                    with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                        await trio_asyncio.aio_as_trio(server.wait_closed)()

    async def _start(self) -> _Server:
        server = _Server(self._handlers)
        # asyncio closes what it listens on; the next round needs it still.
        copy = self._listener.dup()
        context = server_context(self._keeper.credentials)
        await trio_asyncio.aio_as_trio(server.start)(sock=copy, backlog=BACKLOG, ssl=context)
        return server


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's handler of last resort: a connection that failed is closed; the loop goes on.

    Strangers who speak no TLS end here, so it is no error of ours.
    """
    log.bind(error=str(context.get("exception", ""))).info(
        "a connection to the swarm port failed: {}", context.get("message", "")
    )
