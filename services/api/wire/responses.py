"""The answers that are more than a value: endless and finite streams, and the hijack."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import trio
from quart_trio.wrappers import TrioResponse

from services.api.http.answer_head import hijack_head
from services.api.http.asgi import ConnectionExtension
from services.api.http.hijack import RAW_STREAM, HijackedStream

JSON: Final = "application/json"

CLEANUP_S: Final = 5.0
"""How long a stream's generator may take to clean up after its client has gone."""

HijackHandler = Callable[[Any, HijackedStream], Awaitable[None]]
"""What is called with the opened session and the raw stream."""


class EngineResponse(TrioResponse):
    """A whole answer. What a view returns as bytes, str or tuple becomes one of these."""

    default_mimetype = JSON


class StreamResponse(EngineResponse):
    """An answer in parts, each sent as it comes; its head is sent at once.

    `parts` may be a context that gives them: it is entered before the head leaves, so that an error
    in there is still an ordinary answer, and left when the answer ends, however it ends. What needs
    tasks of its own has to come so. An iterator with `aclose` is closed in the same way.

    An `endless` one (events, logs -f, stats) ends well-formed when the server drains: the iterator
    is cancelled where it waits for its next part. A finite one runs on until the server's deadline.
    """

    def __init__(
        self,
        parts: AsyncIterable[bytes] | AbstractAsyncContextManager[AsyncIterable[bytes]],
        *,
        endless: bool = False,
        status: int = 200,
        content_type: str = JSON,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(None, status, headers, content_type=content_type)
        self.session = _session_of(parts)
        self.endless = endless


def _session_of(
    parts: AsyncIterable[bytes] | AbstractAsyncContextManager[AsyncIterable[bytes]],
) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
    if isinstance(parts, AbstractAsyncContextManager):
        return parts
    return _closing(parts) if isinstance(parts, AsyncGenerator) else nullcontext(parts)


@asynccontextmanager
async def _closing(parts: AsyncGenerator[bytes, None]) -> AsyncIterator[AsyncIterable[bytes]]:
    """Run a generator's clean-up now, not when memory is swept, also for a client that has gone."""
    try:
        yield parts
    finally:
        with trio.move_on_after(CLEANUP_S, shield=True):
            await parts.aclose()


class HijackResponse(EngineResponse):
    """Opens `session`, takes the connection over and runs `handler` with both.

    The session is open before the head leaves: a client that has read the head may start what it
    attached to, and must miss nothing of it.

    A client that asked for an upgrade gets 101, another one 200, both without framing. When the
    handler returns, the server sends the end, waits up to 2 s for the client's, and closes.
    Errors must come before: a handler cannot answer with a status any more.

    Source: Engine API, POST /containers/{id}/attach. A 200 always calls itself raw, as dockerd's.
    """

    def __init__(
        self,
        handler: HijackHandler,
        *,
        session: AbstractAsyncContextManager[Any] | None = None,
        content_type: str = RAW_STREAM,
        headers: dict[str, str] | None = None,
        protocol: str = "tcp",
    ) -> None:
        super().__init__(None, 101, headers, content_type=content_type)
        self.handler = handler
        self.protocol = protocol
        self.session: AbstractAsyncContextManager[Any] = session or nullcontext()

    async def take_over(
        self, connection: ConnectionExtension, session: object, *, upgrade: bool
    ) -> None:
        """Send the head, run the handler with the opened `session`."""
        if upgrade:
            status = b"HTTP/1.1 101 UPGRADED\r\n"
            self.headers["Connection"] = "Upgrade"
            self.headers["Upgrade"] = self.protocol
        else:
            status = b"HTTP/1.1 200 OK\r\n"
            self.headers["Content-Type"] = RAW_STREAM
        self.headers.pop("Content-Length", None)
        head = hijack_head(status, encode_headers(self))
        await self.handler(session, await connection.hijack(head))


def encode_headers(response: TrioResponse) -> list[tuple[bytes, bytes]]:
    """An answer's fields as ASGI wants them, their case kept."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
