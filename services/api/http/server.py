"""The API server: one supervised child per listener, over a dup() of its socket.

It owns its connections and nothing that must outlive it: the listening socket stays with
`Listeners`, so that a restart costs no client a refused connection. `Http1Connection` serves
HTTP/1.1; HTTP/2 and websockets are handed over to hypercorn.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from loguru import logger

from services.api.http.asgi import ASGIApp, Scope
from services.api.http.drain import Drain
from services.api.http.http1 import End, Http1Connection
from services.api.http.passthrough import ReplayedStream, ReplayedTLSStream
from services.api.http.peer import PEER_KEY, Peer, with_peer
from services.api.http.transport import LINGER_S, PlainTransport, TLSTransport, Transport, linger
from services.api.http.watch import HangUpWatch

if TYPE_CHECKING:
    from services.api.http.handover import Handover

HANDSHAKE_BUDGET_S: Final = 10.0


class ListenerLike(Protocol):
    """What the server needs of a listener; `services.api.listening` has one."""

    @property
    def address(self) -> str:
        """As the operator wrote it, for the log."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """None: connections are plain."""

    def dup(self) -> socket.socket:
        """A descriptor of its own on the listening socket."""


class StopSignal(Protocol):
    """A supervisor's request to stop. `supervisor.otp.StopRequest` provides it."""

    async def wait(self) -> None:
        """Block until the stop is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How one API server behaves."""

    drain_s: float = 10.0  # after a stop is asked for, how long open requests may run on

    def __post_init__(self) -> None:
        if self.drain_s < 0:
            raise ValueError(f"drain_s must not be negative: {self.drain_s}")


class ApiServer:
    """Serves an ASGI app on one listener. `run` is a supervised child and may run again."""

    def __init__(
        self,
        app: ASGIApp,
        listener: ListenerLike,
        *,
        config: ServerConfig | None = None,
        stop_request: Callable[[], StopSignal],
    ) -> None:
        """`stop_request` is `supervisor.otp.stop_request`, asked for inside `run`."""
        self._app = app
        self._listener = listener
        self._config = config or ServerConfig()
        self._stop_request = stop_request
        self._retired = trio.Event()
        self._is_deaf = trio.Event()  # set once a retired server has closed its listening socket

    @property
    def listener(self) -> ListenerLike:
        """Where it serves."""
        return self._listener

    async def retire(self) -> None:
        """Accept nothing more; `run` returns once what is open has ended as in any other stop.

        Returns when it has closed its own descriptor of the listening socket: the address is free
        when the listener's is closed too. `run` must be running.
        """
        self._retired.set()
        await self._is_deaf.wait()

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until a stop is asked for, then drain. Ready, with the address, once it accepts."""
        stop = self._stop_request()
        drain = Drain()
        active = HangUpWatch()
        serving = _Serving(self._app, self._listener, drain, active)
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(self._listener.dup()))
        log = logger.bind(service="api")
        async with trio.open_nursery() as watchers:
            watchers.start_soon(active.run)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as acceptors:
                    accept = partial(
                        trio.serve_listeners,
                        serving.serve,
                        [accepting],
                        handler_nursery=connections,
                    )
                    await acceptors.start(accept)
                    log.info("API listens", address=self._listener.address)
                    task_status.started(self._listener.address)
                    ending = trio.Event()
                    acceptors.start_soon(_set_after, stop, ending)
                    acceptors.start_soon(_set_after, self._retired, ending)
                    await ending.wait()
                    acceptors.cancel_scope.cancel()
                if self._retired.is_set():
                    self._is_deaf.set()
                log.info("API drains", address=self._listener.address, open=len(serving.open))
                connections.cancel_scope.deadline = trio.current_time() + self._config.drain_s
                await serving.begin_drain()
            if connections.cancel_scope.cancelled_caught:
                log.warning("API cut off what did not end in time", address=self._listener.address)
            watchers.cancel_scope.cancel()


async def _set_after(first: StopSignal, then: trio.Event) -> None:
    await first.wait()
    then.set()


class _Serving:
    """What all connections of one run share."""

    def __init__(
        self, app: ASGIApp, listener: ListenerLike, drain: Drain, active: HangUpWatch
    ) -> None:
        self.app = app
        self._listener = listener
        self.drain = drain
        self.active = active
        self.open: set[Connection] = set()
        self._handover: Handover | None = None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For the next connection: a reload may bring another certificate."""
        return self._listener.tls

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

    def __init__(self, serving: _Serving, stream: trio.SocketStream) -> None:
        self._serving = serving
        self._plain = stream
        self._tls = serving.tls
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
            shaken = await self._shake_hands(self._tls)
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
            self._serving.app,
            drain=self._serving.drain,
            active=self._serving.active,
            base_scope=self._base_scope(),
        )
        if self._serving.drain.is_begun:
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

    async def _shake_hands(
        self, context: ssl.SSLContext
    ) -> trio.SSLStream[trio.SocketStream] | None:
        stream = trio.SSLStream(self._plain, context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(HANDSHAKE_BUDGET_S):
                await stream.do_handshake()
        except trio.TooSlowError:
            return None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            await self._explain(error.__cause__)
            await self._send_alert(stream)
            return None
        return stream

    async def _send_alert(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        """What OpenSSL has to say about it: trio leaves that unsent, and clients see a mere end."""
        alert = stream._outgoing.read()
        if alert:
            with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError):
                await self._plain.send_all(alert)
                await linger(PlainTransport(self._plain))

    async def _explain(self, cause: BaseException | None) -> None:
        """Log why there is no TLS session; tell a client that spoke plain HTTP in its own words."""
        logger.bind(service="api").debug("TLS handshake failed", error=str(cause))
        if isinstance(cause, ssl.SSLError) and cause.reason == "HTTP_REQUEST":
            with trio.move_on_after(LINGER_S):
                await self._plain.send_all(_PLAIN_ON_TLS)
                await linger(PlainTransport(self._plain))

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
        await self._serving.hand_over(stream, self._peer, once=end is End.WEBSOCKET)


def _host_and_port(family: int, address: Any) -> tuple[str, int] | None:
    """As ASGI has them; a unix socket's are not told."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = address
    return host, port


_PLAIN_ON_TLS: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
)
