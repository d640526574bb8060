"""Lines of a log that were let go: counted, and told of by a line where they would be."""

from __future__ import annotations

import time

from services.containers.logs.counts import LogCounts
from services.containers.logs.remote.lines import Line
from services.containers.stdio.streams import Stream


class Dropped:
    """What has been let go since the last note of it arrived. One note is under way at a time."""

    def __init__(self, counts: LogCounts) -> None:
        self._counts = counts
        self._lines = self._bytes = 0  # not told of yet
        self._told_lines = self._told_bytes = 0  # of these, by the note that is under way
        self._note: Line | None = None

    def drop(self, *, lines: int, size_bytes: int) -> None:
        """So much was let go."""
        self._lines += lines
        self._bytes += size_bytes
        self._counts.drop(lines=lines, size_bytes=size_bytes)

    def next_note(self) -> Line | None:
        """What tells of it, from now on under way; None if nothing is to be told now."""
        if self._note is not None or not self._lines:
            return None
        lines, size = self._told_lines, self._told_bytes = self._lines, self._bytes
        text = f"[{lines} lines, {size} bytes of output were dropped here]"
        self._note = Line(Stream.STDERR, time.time_ns(), text.encode())
        return self._note

    def is_note(self, line: Line) -> bool:
        """Whether this line is the note that is under way."""
        return line is self._note

    def note_arrived(self) -> None:
        """It is told."""
        self._note = None
        self._lines -= self._told_lines
        self._bytes -= self._told_bytes

    def note_lost(self) -> None:
        """It may have arrived or not: it is told again."""
        self._note = None
