"""One grpclib channel on the asyncio loop, from its connect to its loss; it never reconnects."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
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

from ._joined import JoinedTransport
from ._method import Method, ReplyT, RequestT
from .errors import containerd_errors

T = TypeVar("T")

# Grace for grpclib to end the calls itself, with its own reason, once the connection is lost.
STRAGGLERS_S: Final = 0.2

# Receive windows. One reader that stops must not use up the connection's: the other calls share it.
STREAM_WINDOW_BYTES: Final = 4 * 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 256 * 1024 * 1024


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
        loop = asyncio.get_running_loop()
        joined = JoinedTransport(cast(asyncio.Transport, transport), loop)
        super().connection_made(cast(asyncio.Transport, joined))

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._on_lost()


class _Channel(Channel):
    """grpclib's channel, with our protocol."""

    on_lost: Callable[[], None]

    @property
    def is_connected(self) -> bool:
        """False as soon as grpclib has closed the connection, before the transport says so."""
        return bool(self._connected)

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(Handler(), self._config, self._h2_config, self.on_lost)


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
            reply: ReplyT | None = await stream.recv_message()
            if reply is None:
                await stream.recv_trailing_metadata()  # raises the status that stands there
                raise GRPCError(Status.INTERNAL, "containerd sent no reply")
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


async def open_link(loop: trio_asyncio.TrioEventLoop, address: Path) -> Link:
    """Connect to the unix socket at `address`. Raises Unavailable."""
    config = Configuration(
        http2_connection_window_size=CONNECTION_WINDOW_BYTES,
        http2_stream_window_size=STREAM_WINDOW_BYTES,
    )

    async def connect() -> Link:
        channel = _Channel(path=str(address), config=config)
        connected = Link(loop, channel)
        await channel.__connect__()
        return connected

    with containerd_errors(f"containerd at {address}"):
        link: Link = await loop.run_aio_coroutine(connect())
    return link
