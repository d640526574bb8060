"""One grpclib channel on the asyncio loop, from its connect to its loss; it never reconnects."""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import trio
import trio_asyncio
from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import StreamReset

from services.errors import InvalidParameter, Unavailable

from .errors import Errors
from .joined import JoinedTransport
from .method import Method, ReplyT, RequestT

T = TypeVar("T")

# h2 remembers how each of the last 65,536 streams of a connection was closed: 8 MB. A peer that
# still has something to say on one says it soon.
H2Connection.MAX_CLOSED_STREAMS = 1024

# Grace for grpclib to end the calls itself, with its own reason, once the connection is lost.
STRAGGLERS_S: Final = 0.2

# Receive windows. One reader that stops must not use up the connection's: the other calls share it.
STREAM_WINDOW_BYTES: Final = 4 * 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpTarget:
    """A server at an address of the network; `tls` None is for tests on loopback only.

    `tls_name` is what its certificate must be for, if that is not the address.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    tls_name: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Target = Path | TcpTarget  # a path is a unix socket's


SILENCE_LIMIT_S: Final = 5.0
"""How long a peer of the network may leave unacknowledged what it was sent. Without a limit TCP
tries again ever more rarely: once the way is there again it would be missed for as long as that."""


class _Protocol(H2Protocol):
    """grpclib's protocol, which also says when the transport is gone."""

    def __init__(
        self,
        handler: Handler,
        config: Configuration,
        h2_config: H2Configuration,
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(handler, config, h2_config)
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _limit_silence(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        joined = JoinedTransport(cast(asyncio.Transport, transport), loop)
        super().connection_made(cast(asyncio.Transport, joined))
        self.processor.processors[StreamReset] = self._on_reset

    def _on_reset(self, event: StreamReset) -> None:
        """A peer that has said all it has to say may reset what we still have to say (RFC 9113,
        8.1): that is no failure of the call, and grpclib would lose what has come."""
        stream = self.processor.streams.get(event.stream_id or 0)
        is_over = stream is not None and stream.trailers_received.is_set()
        if not is_over or event.error_code != ErrorCodes.NO_ERROR:
            self.processor.process_stream_reset(event)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._on_lost()


def _limit_silence(connected: socket.socket) -> None:
    """Have the kernel give up the connection when the peer says nothing. Source: tcp(7)."""
    if connected.family in (socket.AF_INET, socket.AF_INET6):
        limit_ms = int(SILENCE_LIMIT_S * 1000)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)


class _Channel(Channel):
    """grpclib's channel, with our protocol; over a connection that is there already, if `given`."""

    on_lost: Callable[[], None]
    given: socket.socket | None = None

    @property
    def is_connected(self) -> bool:
        """False as soon as grpclib has closed the connection, before the transport says so."""
        return bool(self._connected)

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(Handler(), self._config, self._h2_config, self.on_lost)

    async def _create_connection(self) -> H2Protocol:
        if self.given is None:
            return await super()._create_connection()
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(self._protocol_factory, sock=self.given)
        return protocol


class Link:
    """A connection that is up, or was. Everything that runs on it is cancelled once it is lost."""

    def __init__(self, loop: trio_asyncio.TrioEventLoop, channel: _Channel) -> None:
        self.lost = trio.Event()
        self._loop = loop
        self._channel = channel
        # asyncio finds its loop through a context variable that a caller's trio task does not have.
        self._context = contextvars.copy_context()
        self._running: set[asyncio.Task[Any]] = set()
        channel.on_lost = self._on_lost

    async def connect(self) -> None:
        """Open the connection. For asyncio; `open_link` does it."""
        await self._channel.__connect__()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an asyncio coroutine from any trio task; it is over when this returns or raises.

        Raises asyncio.CancelledError when the link was lost under it, OSError when it was before.
        """
        if self.lost.is_set():  # grpclib would connect once more, and nobody would own that
            coroutine.close()
            raise ConnectionResetError("the connection was lost")
        task = self._loop.create_task(coroutine, context=self._context.copy())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            result: T = await trio_asyncio.run_aio_future(task)
        except AttributeError as error:
            # grpclib takes its connection apart when it closes it; whoever comes then finds parts
            # missing.
            if self._channel.is_connected:
                raise
            raise ConnectionResetError("the connection was lost") from error
        return result

    async def unary(
        self,
        method: Method[RequestT, ReplyT],
        request: RequestT,
        metadata: Iterable[tuple[str, str]],
    ) -> ReplyT:
        """One request and its reply. For asyncio: goes into `run`."""
        async with self.request(method, metadata) as stream:
            await stream.send_message(request, end=True)
            bound_messages(stream, method.reply_limit_bytes)
            reply: ReplyT | None = await stream.recv_message()
            if reply is None:
                await stream.recv_trailing_metadata()  # raises the status that stands there
                raise GRPCError(Status.INTERNAL, "there came no reply")
        return reply

    def request(self, method: Method[RequestT, ReplyT], metadata: Iterable[tuple[str, str]]) -> Any:
        """A grpclib client stream, not yet sent."""
        return self._channel.request(
            method.route, method.cardinality, method.request, method.reply, metadata=list(metadata)
        )

    def close(self) -> None:
        """Give up the connection; calls on it end with an error."""
        self.lost.set()
        self._channel.close()
        self._cancel_stragglers()

    def _on_lost(self) -> None:
        self.lost.set()
        # grpclib has ended the calls that it knows to be waiting for the peer. One that waits for
        # its turn (a stream to get free, a write buffer to drain) it leaves waiting for good.
        self._loop.call_later(STRAGGLERS_S, self._cancel_stragglers)

    def _cancel_stragglers(self) -> None:
        for task in tuple(self._running):
            task.cancel()


async def open_link(
    loop: trio_asyncio.TrioEventLoop, target: Target, *, peer: str, errors: Errors
) -> Link:
    """Connect to `target`, which messages call `peer`. Raises Unavailable. No limit."""
    config = Configuration(
        http2_connection_window_size=CONNECTION_WINDOW_BYTES,
        http2_stream_window_size=STREAM_WINDOW_BYTES,
        ssl_target_name_override=None if isinstance(target, Path) else target.tls_name,
    )

    async def connect() -> Link:
        connected = Link(loop, _channel(target, config))
        await connected.connect()
        return connected

    with errors(f"{peer} at {target}"):
        try:
            link: Link = await loop.run_aio_coroutine(connect())
        except OSError as error:
            why = _reason(error)
            raise Unavailable(f"{peer} at {target} cannot be reached: {why}") from error
    return link


async def open_link_on(loop: trio_asyncio.TrioEventLoop, connection: socket.socket) -> Link:
    """A link over a stream socket whose other end waits for HTTP/2; the socket is the link's.

    Raises:
        OSError: it is closed already.
    """
    channel = _Channel(
        path="",  # never connected to
        config=Configuration(
            http2_connection_window_size=CONNECTION_WINDOW_BYTES,
            http2_stream_window_size=STREAM_WINDOW_BYTES,
        ),
    )
    channel.given = connection

    async def connect() -> Link:
        connected = Link(loop, channel)
        await connected.connect()
        return connected

    link: Link = await loop.run_aio_coroutine(connect())
    return link


def bound_messages(stream: Any, limit_bytes: int) -> None:
    """Have a grpclib stream that has begun refuse larger messages: it would gather up to 4 GiB.

    Receiving then raises InvalidParameter. Without a limit (0) nothing is changed.
    """
    if not limit_bytes:
        return
    raw: Any = stream._stream
    receive = raw.recv_data

    async def receive_bounded(size: int) -> bytes:
        if size > limit_bytes:
            raise InvalidParameter(f"a message of {size} bytes is too large")
        data: bytes = await receive(size)
        return data

    raw.recv_data = receive_bounded


def _reason(error: OSError) -> str:
    """Without asyncio's words for it. TLS's refusals have numbers of their own."""
    if error.errno is None or isinstance(error, ssl.SSLError):
        return str(error)
    return os.strerror(error.errno)


def _channel(target: Target, config: Configuration) -> _Channel:
    if isinstance(target, Path):
        return _Channel(path=str(target), config=config)
    return _Channel(host=target.host, port=target.port, ssl=target.tls, config=config)
