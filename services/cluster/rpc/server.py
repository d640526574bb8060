"""The swarm port of a manager."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
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
from services.cluster.rpc.door import Door, Visitor
from services.cluster.rpc.tls import server_context

BACKLOG: Final = 256
CLOSE_LIMIT_S: Final = 2.0
HANDSHAKE_LIMIT_S: Final = 10.0
STRANGER_LIMIT_S: Final = 60.0
"""How long a connection without a certificate may be open: a join takes seconds."""

ACCEPT_PAUSE_S: Final = 0.1
TELL_EVERY_S: Final = 60.0

log = logger.bind(service="cluster.rpc")


class _Mapped:
    """What grpclib wants of a set of handlers."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def __mapping__(self) -> dict[str, Handler]:
        """By route."""
        return dict(self._handlers)


class _Connection(H2Protocol):
    """A connection whose TLS is there: from now on it is known whether it has a certificate."""

    visitor: Visitor
    door: Door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self.visitor.close = transport.abort
        tls = transport.get_extra_info("ssl_object")
        self.visitor.is_known = tls.getpeercert(binary_form=True) is not None
        if not self.visitor.is_known:
            asyncio.get_running_loop().call_later(STRANGER_LIMIT_S, transport.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio's."""
        self.door.leave(self.visitor)
        super().connection_lost(exc)


class _Server(Server):
    """grpclib's server, which takes connections that others have accepted, and closes them at its
    end."""

    def __init__(self, handlers: Mapping[str, Handler], context: ssl.SSLContext) -> None:
        super().__init__([_Mapped(handlers)])
        self._context = context
        self._protocols: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    async def take(self, connection: socket.socket, visitor: Visitor, door: Door) -> None:
        """Begin TLS with whoever has connected, and serve it from then on.

        Raises:
            OSError: there is no TLS with it, or not in time. ssl.SSLError is one.
        """
        loop = asyncio.get_running_loop()
        _, protocol = await loop.connect_accepted_socket(
            lambda: self._connection(visitor, door),
            connection,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_LIMIT_S,
        )
        self._protocols.add(protocol)

    def close(self) -> None:
        """End calls, close connections."""
        for handler in self._handlers:
            handler.close()
        for protocol in tuple(self._protocols):
            protocol.connection.close()

    async def wait_closed(self) -> None:
        """Until calls have ended."""
        if self._handlers:
            loop = asyncio.get_running_loop()
            await asyncio.wait({loop.create_task(each.wait_closed()) for each in self._handlers})

    def _connection(self, visitor: Visitor, door: Door) -> _Connection:
        made = super()._protocol_factory()
        connection = _Connection(made.handler, made.config, made.h2_config)
        connection.visitor, connection.door = visitor, door
        return connection


class SwarmServer:
    """Answers on one listening socket, which it does not close. `run` is a supervised child.

    Whenever the node's credentials change it starts over with them: connections end, and nodes come
    back with new sessions. That happens once in weeks.
    """

    def __init__(
        self,
        listener: socket.socket,
        keeper: CredentialKeeper,
        handlers: Mapping[str, Handler],
        door: Door | None = None,
    ) -> None:
        self._door = Door() if door is None else door
        self._full_at = -math.inf
        self._listener = listener
        self._keeper = keeper
        self._handlers = handlers

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(_report)
            while True:
                changed = self._keeper.changed
                server = _Server(self._handlers, server_context(self._keeper.credentials))
                try:
                    # The next round listens still.
                    with trio.socket.from_stdlib_socket(self._listener.dup()) as listener:
                        listener.listen(BACKLOG)
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._accept, listener, server)
                            task_status.started()
                            task_status = trio.TASK_STATUS_IGNORED
                            await changed.wait()
                            nursery.cancel_scope.cancel()
                finally:
                    server.close()
                    with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                        await trio_asyncio.aio_as_trio(server.wait_closed)()

    async def _accept(self, listener: trio.socket.SocketType, server: _Server) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    connection, address = await listener.accept()
                except OSError as error:  # who wanted to connect has gone, or descriptors are out
                    log.bind(error=str(error)).info("no connection to the swarm port taken")
                    await trio.sleep(ACCEPT_PAUSE_S)
                    continue
                scope = trio.CancelScope()
                visitor = self._door.enter(str(address[0]), scope.cancel)
                if visitor is None:
                    self._tell_full(str(address[0]))
                    connection.close()
                    continue
                nursery.start_soon(self._take, connection, visitor, scope, server)

    async def _take(
        self,
        connection: trio.socket.SocketType,
        visitor: Visitor,
        scope: trio.CancelScope,
        server: _Server,
    ) -> None:
        taken = socket.socket(fileno=connection.detach())
        is_served = False
        try:
            with scope:
                await trio_asyncio.aio_as_trio(server.take)(taken, visitor, self._door)
                is_served = True
        except (TimeoutError, OSError, EOFError) as error:
            # Strangers who speak no TLS end here, so it is no error of ours.
            log.bind(addr=visitor.address, error=str(error)).info(
                "a connection to the swarm port failed"
            )
        finally:
            if not is_served:
                self._door.leave(visitor)
                taken.close()

    def _tell_full(self, address: str) -> None:
        """Once in a while: who connects again and again must not fill the log."""
        if trio.current_time() >= self._full_at + TELL_EVERY_S:
            self._full_at = trio.current_time()
            log.bind(addr=address, connections=len(self._door)).warning(
                "connection to the swarm port refused: there are too many"
            )


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's handler of last resort: a connection that failed is closed; the loop goes on.

    Strangers who speak no TLS end here, so it is no error of ours.
    """
    log.bind(error=str(context.get("exception", ""))).info(
        "a connection to the swarm port failed: {}", context.get("message", "")
    )
