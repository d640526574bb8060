"""The answer of POST /images/load: progress and result as JSON, one value a line.

Source: Engine API, ImageLoad; the shape is that of dockerd's JSON messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from services.api.ports import ImageLoader
from services.api.streams.message_lines import Tell, told_lines
from services.images import IngestProgress, Loaded, Platform
from services.images.ports import Body


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

    def lines(self) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Load while the block lasts; the lines end with the load."""
        return told_lines(self._load, what="load")

    async def _load(self, tell: Tell) -> None:
        async def report(news: IngestProgress | Loaded) -> None:
            if isinstance(news, Loaded):
                await tell({"stream": f"{news.text}\n"})
            elif not self._is_quiet:
                await tell(progress_to_wire(news))

        await self._images.load(self._body, report, self._platforms)


def progress_to_wire(progress: IngestProgress) -> dict[str, Any]:
    """How far one file is, with what clients draw their bars from."""
    return {
        "status": "Loading layer",
        "progressDetail": {"current": progress.done_bytes, "total": progress.total_bytes},
        "id": progress.short_id,
    }
