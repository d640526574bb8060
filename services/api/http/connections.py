"""The connections of one run of a server, each led to what speaks its protocol.

`Http1Connection` serves HTTP/1.1; HTTP/2 and websockets are handed over to hypercorn.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from loguru import logger

from services.api.http.asgi import ASGIApp, Scope
from services.api.http.drain import Drain
from services.api.http.handshake import shake_hands
from services.api.http.http1 import End, Http1Connection
from services.api.http.passthrough import ReplayedStream, ReplayedTLSStream
from services.api.http.peer import PEER_KEY, Peer, with_peer
from services.api.http.transport import PlainTransport, TLSTransport, Transport
from services.api.http.watch import HangUpWatch

if TYPE_CHECKING:
    from services.api.http.handover import Handover


class Connections:
    """Those that are open, and what they share. `tls` is asked for each: None is plain."""

    def __init__(
        self,
        app: ASGIApp,
        tls: Callable[[], ssl.SSLContext | None],
        drain: Drain,
        active: HangUpWatch,
    ) -> None:
        self.app = app
        self.tls = tls
        self.drain = drain
        self.active = active
        self.open: set[Connection] = set()
        self._handover: Handover | None = None

    async def serve(self, stream: trio.SocketStream) -> None:
        """One accepted connection, to its end. Whatever goes wrong in it stays in it."""
        connection = Connection(self, stream)
        self.open.add(connection)
        try:
            await connection.run()
        except Exception as error:  # the guard: no connection's error ends the server
            logger.bind(service="api").opt(exception=error).error("connection failed")
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None:
                logger.bind(service="api").opt(exception=rest).error("connection failed")
            if cancelled is not None:
                raise cancelled from None
        finally:
            stream.socket.close()
            self.open.discard(connection)

    async def hand_over(self, stream: ReplayedStream, peer: Peer, *, once: bool) -> None:
        """As `Handover.serve`."""
        from services.api.http.handover import Handover  # see there

        if self._handover is None:
            self._handover = Handover()
            if self.drain.is_begun:
                await self._handover.begin_drain()
        await self._handover.serve(with_peer(self.app, peer), stream, once=once)

    async def begin_drain(self) -> None:
        """Tell every connection, and hypercorn's, that the server ends."""
        self.drain.begin()
        if self._handover is not None:
            await self._handover.begin_drain()
        for connection in tuple(self.open):
            connection.begin_drain()


class Connection:
    """One accepted connection: whose it is shows in its first bytes."""

    def __init__(self, shared: Connections, stream: trio.SocketStream) -> None:
        self._shared = shared
        self._plain = stream
        self._tls = shared.tls()
        self._http1: Http1Connection | None = None
        self._peer: Peer | None = None

    def begin_drain(self) -> None:
        """Close if idle; before the first byte was read the connection counts as fresh."""
        if self._http1 is not None:
            self._http1.begin_drain()

    async def run(self) -> None:
        """Serve the connection to its end, by HTTP/1.1 or in hypercorn's hands."""
        transport: Transport = PlainTransport(self._plain)
        alpn: str | None = None
        if self._tls is not None:
            shaken = await shake_hands(self._tls, self._plain)
            if shaken is None:
                return
            transport, alpn = TLSTransport(shaken), shaken.selected_alpn_protocol()
        sock = self._plain.socket
        self._peer = Peer(transport, _host_and_port(sock.family, sock.getpeername()))
        if alpn == "h2":
            await self._pass_through(ReplayedTLSStream(transport, b"", alpn), End.HTTP2)
            return
        self._http1 = Http1Connection(
            transport,
            self._shared.app,
            drain=self._shared.drain,
            active=self._shared.active,
            base_scope=self._base_scope(),
        )
        if self._shared.drain.is_begun:
            self._http1.begin_drain()
        end = await self._http1.serve()
        if end is End.CLOSED:
            return
        data = bytes(self._http1.buffer)
        if self._tls is None:
            # hypercorn finds HTTP/2 with prior knowledge by itself, from the preface.
            await self._pass_through(ReplayedStream(transport, data), end)
        else:
            await self._pass_through(ReplayedTLSStream(transport, data, alpn), end)

    def _base_scope(self) -> Scope:
        sock = self._plain.socket
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": "http" if self._tls is None else "https",
            "root_path": "",
            "client": _host_and_port(sock.family, sock.getpeername()),
            "server": _host_and_port(sock.family, sock.getsockname()),
            PEER_KEY: self._peer,
        }

    async def _pass_through(self, stream: ReplayedStream, end: End) -> None:
        assert self._peer is not None
        await self._shared.hand_over(stream, self._peer, once=end is End.WEBSOCKET)


def _host_and_port(family: int, address: Any) -> tuple[str, int] | None:
    """As ASGI has them; a unix socket's are not told."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = address
    return host, port
