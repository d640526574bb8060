"""Answers queries on a log: from its end or its start, across rotations, and on as it grows."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Final

import trio

from services.containers.logs.cursor import Cursor
from services.containers.logs.feed import Extent, Feed
from services.containers.logs.files import LogFiles
from services.containers.logs.format import Format
from services.containers.logs.query import LogQuery

_THREADS: Final = 2


class LogReader:
    """Answers queries on one container's log. Never holds up its writer.

    A follower that is more than HELD_BYTES behind the rotation goes on with the oldest file left.
    """

    def __init__(
        self,
        *,
        files: LogFiles,
        feed: Feed,
        format: Format,
        threads: trio.CapacityLimiter | None = None,
    ) -> None:
        self._files = files
        self._feed = feed
        self._format = format
        self._threads = threads or trio.CapacityLimiter(_THREADS)

    @asynccontextmanager
    async def read(self, query: LogQuery) -> AsyncIterator[AsyncIterator[bytes]]:
        """Blocks of the answer, none empty. Ends at the log's end; when following, at the run's.

        A follower with an `until_ns` ends at that time, whether or not anything is logged then.
        """
        cursor = Cursor(self._files, self._format, query)
        try:
            async with aclosing(self._blocks(cursor, query)) as blocks:
                yield blocks
        finally:
            cursor.close()

    async def _blocks(self, cursor: Cursor, query: LogQuery) -> AsyncGenerator[bytes, None]:
        live = self._feed.extent if query.upto is None else query.upto
        following = query.follow and live is not None and query.upto is None
        start = partial(cursor.start, live, following=following)
        await trio.to_thread.run_sync(start, limiter=self._threads)
        while not cursor.is_done:
            raw, text = await trio.to_thread.run_sync(
                cursor.next_block, live, limiter=self._threads
            )
            if text:
                yield text
            if raw:
                continue
            if not following or live is None or not await self._wait_beyond(live, query):
                return
            live = self._feed.extent
            if live is None:  # the run is over: what it still wrote, and no more
                live = self._feed.last
                following = False

    async def _wait_beyond(self, live: Extent, query: LogQuery) -> bool:
        """Whether there is more to read; False: `until_ns` has come."""
        patience_s = (query.until_ns - time.time_ns()) / 1e9 if query.until_ns else math.inf
        with trio.move_on_after(max(0.0, patience_s)):
            await self._feed.wait_beyond(live)
            return True
        return False
