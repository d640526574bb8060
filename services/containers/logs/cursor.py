"""A place in a log, for one reader of it."""

from __future__ import annotations

import os
import zlib
from typing import Final

from services.containers.logs.feed import Extent
from services.containers.logs.files import LogFiles, Opened
from services.containers.logs.format import Format, Place
from services.containers.logs.query import LogQuery

READ_BYTES: Final = 256 * 1024


class Cursor:
    """Goes through a log's files and turns them into an answer.

    The methods block and run in a thread, one at a time; `close` may run on the loop. `live` is
    what may be read; None: all that there is.
    """

    def __init__(self, files: LogFiles, format: Format, query: LogQuery) -> None:
        self._files = files
        self._format = format
        self._query = query
        self._scanner = format.scanner(query)
        self._generation = 0
        self._opened: Opened | None = None
        self._offset = 0  # unpacked: to read from; packed: bytes read
        self._following = False

    @property
    def is_done(self) -> bool:
        """Is what follows past the query's end?"""
        return self._scanner.is_done

    def start(self, live: Extent | None, *, following: bool = False) -> None:
        """Stand where the answer begins. A follower's files are kept for it from here on."""
        self._files.scan()
        self._following = following
        if following:
            self._files.follow(self, 0)  # nothing may go before we know where we stand
        oldest = self._files.oldest()
        newest = self._files.generation if live is None else live.generation
        if self._query.tail is not None:
            self._stand_at_tail(oldest, newest, live, self._query.tail)
        elif self._query.since_ns:
            self._stand_at_time(oldest, newest, live, self._query.since_ns)
        else:
            self._stand(oldest, Place(0, 0, 0))

    def next_block(self, live: Extent | None) -> tuple[bool, bytes]:
        """Whether something was read, and what the client gets of it."""
        while True:
            if self._opened is not None or self._enter():
                raw = self._read(live)
                if raw:
                    return True, self._scanner.feed(raw)
            if not self._advance(live):
                return False, b""

    def close(self) -> None:
        """Close the file, and let go of those that were kept. A second call does nothing."""
        if self._following:
            self._following = False
            self._files.unfollow(self)
        self._leave()

    def _stand(self, generation: int, place: Place) -> None:
        self._generation, self._offset = generation, place.offset
        self._scanner.begin_file(place.skip)
        if self._following:
            self._files.follow(self, generation)

    def _read(self, live: Extent | None) -> bytes:
        assert self._opened is not None
        count = READ_BYTES
        if live is not None and live.generation == self._generation:
            count = min(count, live.size_bytes - self._offset)
        try:
            raw = self._opened.file.read(count) if count > 0 else b""
        except (
            EOFError,
            OSError,
            zlib.error,
        ):  # a compressed file that a crash of the machine broke
            if not self._opened.packed:
                raise
            return b""
        self._offset += len(raw)
        return raw

    def _enter(self) -> bool:
        """Open the file of the generation; one that is gone is passed over."""
        oldest = self._files.oldest()
        if oldest > self._generation:
            self._stand(oldest, Place(0, 0, 0))
        self._opened = self._files.open(self._generation)
        if self._opened is None:
            return False
        if self._offset:
            self._opened.file.seek(self._offset)
        return True

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened.file.close()
            self._opened = None

    def _advance(self, live: Extent | None) -> bool:
        """Go to the next generation, if there is one to read."""
        newest = self._files.generation if live is None else live.generation
        if self._generation >= newest:
            return False
        self._leave()
        self._stand(self._generation + 1, Place(0, 0, 0))
        return True

    def _stand_at_tail(self, oldest: int, newest: int, live: Extent | None, lines: int) -> None:
        place = Place(0, 0, lines)
        for generation in range(newest, oldest - 1, -1):
            opened = self._files.open(generation)
            if opened is not None:
                with opened.file:
                    place = self._tail_of(opened, generation, live, place.lacking)
                self._stand(generation, place)
            if place.lacking == 0:
                return

    def _tail_of(self, opened: Opened, generation: int, live: Extent | None, lines: int) -> Place:
        if opened.contents is None:
            return self._format.find_tail(opened.file, _size(opened, generation, live), lines)
        there = opened.contents.lines
        there = self._count(opened) if there is None else there
        return Place(0, max(0, there - lines), max(0, lines - there))

    def _count(self, opened: Opened) -> int:
        """Lines of a compressed file whose header does not tell."""
        lines, rest = 0, b""
        while block := opened.file.read(READ_BYTES):
            data = rest + block
            here, used = self._format.count_lines(data)
            lines, rest = lines + here, data[used:]
        return lines

    def _stand_at_time(self, oldest: int, newest: int, live: Extent | None, since_ns: int) -> None:
        """Files whose last line is older are passed over; within one, the search is by halves."""
        for generation in range(oldest, newest + 1):
            opened = self._files.open(generation)
            if opened is None:
                continue
            with opened.file:
                offset, is_past = self._time_in(opened, generation, live, since_ns)
            self._stand(generation, Place(offset, 0, 0))
            if not is_past:
                return

    def _time_in(
        self, opened: Opened, generation: int, live: Extent | None, since_ns: int
    ) -> tuple[int, bool]:
        """Where to read from for what is not older, and whether all of the file is."""
        if opened.contents is not None:
            last_ns = opened.contents.last_time_ns
            return 0, last_ns is not None and last_ns < since_ns
        size = _size(opened, generation, live)
        last_ns = self._format.last_time_ns(opened.file, size)
        if last_ns is not None and last_ns < since_ns:
            return size, True
        return self._format.find_since(opened.file, size, since_ns), False


def _size(opened: Opened, generation: int, live: Extent | None) -> int:
    size = os.fstat(opened.file.fileno()).st_size
    if live is not None and live.generation == generation:
        return min(size, live.size_bytes)
    return size
