"""How much was logged and how much was not, of each container and of all together."""

from __future__ import annotations

import threading


class LogCounts:
    """Counters of lines and of bytes of output. Added to from the threads that write logs.

    What is counted here is also counted in `total`, if there is one.

    Attributes:
        written_lines: records of a line, or of a piece of one that is too long.
        written_bytes: of output, as the process wrote it.
        dropped_lines: which the disk refused, for which a non-blocking log had no room, or which
            a log's server did not get (a local cache may have them).
        dropped_bytes: of these.
        refused_lines: of the dropped ones, those that the disk refused.
    """

    def __init__(self, total: LogCounts | None = None) -> None:
        self._lock = threading.Lock()
        self._total = total
        self.written_lines = 0
        self.written_bytes = 0
        self.dropped_lines = 0
        self.dropped_bytes = 0
        self.refused_lines = 0

    def write(self, *, lines: int, size_bytes: int) -> None:
        """So much is in a log."""
        with self._lock:
            self.written_lines += lines
            self.written_bytes += size_bytes
        if self._total is not None:
            self._total.write(lines=lines, size_bytes=size_bytes)

    def drop(self, *, lines: int, size_bytes: int) -> None:
        """So much is in none."""
        with self._lock:
            self.dropped_lines += lines
            self.dropped_bytes += size_bytes
        if self._total is not None:
            self._total.drop(lines=lines, size_bytes=size_bytes)

    def refuse(self, *, lines: int, size_bytes: int) -> None:
        """So much is in none, for the disk has refused it."""
        with self._lock:
            self.dropped_lines += lines
            self.dropped_bytes += size_bytes
            self.refused_lines += lines
        if self._total is not None:
            self._total.refuse(lines=lines, size_bytes=size_bytes)
