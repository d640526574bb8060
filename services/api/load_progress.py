"""The answer of POST /images/load: progress and result as JSON, one value a line.

Source: Engine API, ImageLoad; the shape is that of dockerd's JSON messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio
from loguru import logger

from services.api.errors import INTERNAL_ERROR
from services.api.ports import ImageLoader
from services.errors import EngineError, single_error
from services.images import IngestProgress, Loaded, Platform
from services.images.ports import Body

LINES_AHEAD: Final = 16
"""The load waits when the client is this many lines behind."""


class LoadAnswer:
    """One load and what is told of it. Who leaves before its end has loaded nothing."""

    def __init__(
        self,
        images: ImageLoader,
        body: Body,
        *,
        is_quiet: bool,
        platforms: Sequence[Platform] = (),
    ) -> None:
        self._images = images
        self._body = body
        self._is_quiet = is_quiet
        self._platforms = platforms

    @asynccontextmanager
    async def lines(self) -> AsyncIterator[AsyncIterable[bytes]]:
        """Load while the block lasts; the lines end with the load."""
        send, receive = trio.open_memory_channel[bytes](LINES_AHEAD)
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._load, send)
                async with receive:
                    yield receive
                nursery.cancel_scope.cancel()

    async def _load(self, send: trio.MemorySendChannel[bytes]) -> None:
        async def report(news: IngestProgress | Loaded) -> None:
            if isinstance(news, Loaded):
                await send.send(_line({"stream": f"{news.text}\n"}))
            elif not self._is_quiet:
                await send.send(_line(progress_to_wire(news)))

        async with send:
            try:
                await self._images.load(self._body, report, self._platforms)
            except EngineError as error:
                await send.send(_line(error_to_wire(str(error))))
            except Exception as error:
                logger.bind(service="api").opt(exception=error).error("load failed")
                await send.send(_line(error_to_wire(INTERNAL_ERROR)))


def progress_to_wire(progress: IngestProgress) -> dict[str, Any]:
    """How far one file is, with what clients draw their bars from."""
    return {
        "status": "Loading layer",
        "progressDetail": {"current": progress.done_bytes, "total": progress.total_bytes},
        "id": progress.short_id,
    }


def error_to_wire(message: str) -> dict[str, Any]:
    """The last line of what failed after its head had left."""
    return {"errorDetail": {"message": message}, "error": message}


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\r\n"
