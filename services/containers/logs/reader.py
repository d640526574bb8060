"""Reads a json-file log: from its end or its start, across rotations, and on as it grows."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

import trio

from services.containers.logs.feed import Extent, Feed
from services.containers.logs.files import LogFiles
from services.containers.logs.query import LogQuery
from services.containers.logs.render import Renderer
from services.containers.logs.tail import find_tail, skip_to_tail

READ_BYTES: Final = 256 * 1024
_THREADS: Final = 2


class LogReader:
    """Answers queries on one container's log. Never holds up its writer.

    A follower too slow for the rotation goes on with the oldest file that is left.
    """

    def __init__(
        self, *, files: LogFiles, feed: Feed, threads: trio.CapacityLimiter | None = None
    ) -> None:
        self._files = files
        self._feed = feed
        self._threads = threads or trio.CapacityLimiter(_THREADS)

    @asynccontextmanager
    async def read(self, query: LogQuery) -> AsyncIterator[AsyncIterator[bytes]]:
        """Blocks of the answer, none empty. Ends at the log's end; when following, at the run's."""
        cursor = _Cursor(self._files, query)
        blocks = self._blocks(cursor, query)
        try:
            yield blocks
        finally:
            await blocks.aclose()
            cursor.close()

    async def _blocks(self, cursor: _Cursor, query: LogQuery) -> AsyncGenerator[bytes, None]:
        renderer = Renderer(query)
        live = self._feed.extent if query.upto is None else query.upto
        await trio.to_thread.run_sync(cursor.start, live, limiter=self._threads)
        following = query.follow and live is not None and query.upto is None
        while not renderer.done:
            raw, text = await trio.to_thread.run_sync(
                cursor.next_block, renderer, live, limiter=self._threads
            )
            if text:
                yield text
            if raw:
                continue
            if not following or live is None:
                return
            await self._feed.wait_beyond(live)
            live = self._feed.extent
            if live is None:  # the run is over: what it still wrote, and no more
                live = self._feed.last
                following = False


class _Cursor:
    """A place in the log. Methods but `close` block and run in a thread, one at a time."""

    def __init__(self, files: LogFiles, query: LogQuery) -> None:
        self._files = files
        self._query = query
        self._generation = 0
        self._file: BinaryIO | None = None
        self._offset = 0
        self._rest = b""  # the beginning of a line whose end is not read yet

    def start(self, live: Extent | None) -> None:
        """Stand where the answer begins."""
        self._files.scan()
        oldest = self._files.oldest()
        self._generation = oldest
        if self._query.tail is not None:
            newest = self._files.generation if live is None else live.generation
            self._stand_at_tail(oldest, newest, live, self._query.tail)

    def next_block(self, renderer: Renderer, live: Extent | None) -> tuple[bool, bytes]:
        """Whether something was read, and what the client gets of it."""
        while True:
            if self._file is None and not self._enter():
                if not self._advance(live):
                    return False, b""
                continue
            raw = self._read(live)
            if raw:
                lines, newline, rest = (self._rest + raw).rpartition(b"\n")
                self._rest = rest
                return True, renderer.render(lines + newline)
            if not self._advance(live):
                return False, b""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, live: Extent | None) -> bytes:
        assert self._file is not None
        count = READ_BYTES
        if live is not None and live.generation == self._generation:
            count = min(count, live.size_bytes - self._offset)
        raw = self._file.read(count) if count > 0 else b""
        self._offset += len(raw)
        return raw

    def _enter(self) -> bool:
        """Open the file of the generation; a generation that is gone is skipped."""
        self._generation = max(self._generation, self._files.oldest())
        opened = self._files.open(self._generation)
        if opened is None:
            return False
        self._file, _ = opened
        self._file.seek(self._offset)
        return True

    def _advance(self, live: Extent | None) -> bool:
        """Go to the next generation, if there is one to read."""
        newest = self._files.generation if live is None else live.generation
        if self._generation >= newest:
            return False
        self.close()
        self._generation += 1
        self._offset, self._rest = 0, b""
        return True

    def _stand_at_tail(self, oldest: int, newest: int, live: Extent | None, lines: int) -> None:
        self._generation = newest
        while True:
            opened = self._files.open(self._generation)
            if opened is not None:
                file, packed = opened
                with file:
                    self._offset, lines = self._tail_of(file, packed, live, lines)
            if lines == 0 or self._generation <= oldest:
                return
            self._generation -= 1

    def _tail_of(
        self, file: BinaryIO, packed: bool, live: Extent | None, lines: int
    ) -> tuple[int, int]:
        if packed:
            return skip_to_tail(file, lines)
        size = os.fstat(file.fileno()).st_size
        if live is not None and live.generation == self._generation:
            size = min(size, live.size_bytes)
        return find_tail(file, size, lines)
