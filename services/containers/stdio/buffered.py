"""The spool of a log in non-blocking mode: the process never waits for the log's disk.

The FIFO is emptied into the spool whatever the log does; a thread of its own brings the log after
it. Of a stream at most `buffer_bytes` wait for the log, 64 MB whatever is asked. What comes beyond
that is given to the attached and dropped: counted, and told of by a line in the log where it would
be.

As in a `Spool` nothing of what waits is lost or doubled by a kill; only the line that tells of what
was dropped just before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from services.containers.stdio.spool import (
    BLOCK_BYTES,
    LogWriter,
    Spool,
    SpoolFile,
    Taken,
    splice_block,
)
from services.containers.stdio.streams import Stream

MAX_BUFFER_BYTES: Final = 64 * 1024 * 1024
_CHEAP_BYTES: Final = 1024 * 1024


class DropCounts(Protocol):
    """Counts what no log has."""

    def drop(self, *, lines: int, size_bytes: int) -> None:
        """So much is in none."""


@dataclass(slots=True)
class _Gap:
    """What was dropped since the log's last line."""

    lines: int = 0
    size_bytes: int = 0
    ends_in_line: bool = False  # the rest of a line of which a part was dropped goes too


class BufferedSpool(Spool):
    """`gather` and `told` are for the loop, `log_some` for one thread; they may run at once."""

    def __init__(
        self,
        *,
        directory: Path,
        streams: Collection[Stream],
        log: LogWriter,
        buffer_bytes: int,
        counts: DropCounts,
    ) -> None:
        super().__init__(directory=directory, streams=streams, log=log)
        self._buffer_bytes = min(buffer_bytes, MAX_BUFFER_BYTES)
        self._counts = counts
        self._lock = threading.Lock()  # for the files' fields; never held while the log is written
        self._gaps = {stream: _Gap() for stream in streams}
        self._told: dict[Stream, int] = {}  # up to where readers of the log know it

    def open(self) -> None:
        """See `Spool.open`; what an earlier daemon left waits for the log only."""
        super().open()
        for stream, file in self._files.items():
            file.offered = file.end
            self._told.setdefault(stream, file.logged)

    def holds(self, stream: Stream) -> bool:  # noqa: ARG002 (see `Spool`)
        """Everything is handed out as it is gathered."""
        return False

    def unfinished(self, stream: Stream) -> bytes:
        """What was handed out and is not in the log that readers know."""
        with self._lock:
            file = self._files.get(stream)
            if file is None:
                return b""
            start = self._told[stream]
            return os.pread(file.fd, file.end - start, start)

    def gather(self, stream: Stream, fifo: int) -> Taken:
        """Take what the FIFO has, into the spool while there is room. Below a millisecond."""
        with self._lock:
            file, gap = self._files[stream], self._gaps[stream]
            has_room = file.end - file.logged < self._buffer_bytes
            if has_room and not gap.size_bytes:
                return self._keep(file, fifo)
            try:
                block = os.read(fifo, BLOCK_BYTES)
            except BlockingIOError:
                return Taken(b"", False)
            kept = self._after_gap(gap, block) if has_room else b""
            self._drop(gap, block[: len(block) - len(kept)])
            if kept or not block:
                self._close_gap(file, gap, kept)
            return Taken(block, not block)

    def log_some(self) -> bool:
        """Log a block of each stream; whether there may be more to log. Blocks on the disk."""
        logged = [self._log_block(stream, file) for stream, file in self._files.items()]
        return any(logged)

    def told(self) -> None:
        """Readers know of what was logged."""
        with self._lock:
            self._told = {stream: file.logged for stream, file in self._files.items()}

    def finish(self, stream: Stream) -> None:
        """See `Spool.finish`; `log_some` must not be running."""
        if self._gaps[stream].size_bytes:
            self._close_gap(self._files[stream], self._gaps[stream], b"")
        super().finish(stream)

    def _keep(self, file: SpoolFile, fifo: int) -> Taken:
        moved = splice_block(fifo, file)
        if not moved:
            return Taken(b"", moved == 0)
        block = os.pread(file.fd, moved, file.end)
        file.end += moved
        file.offered = file.end
        return Taken(block, False)

    def _log_block(self, stream: Stream, file: SpoolFile) -> bool:
        with self._lock:
            waiting = file.end - file.logged
            is_due = waiting <= _CHEAP_BYTES or file.logged >= 2 * self._buffer_bytes
            if self._told[stream] == file.logged and is_due:
                self._compact(file)  # a copy of what waits, under the lock that the loop takes too
                self._told[stream] = file.logged
            data = os.pread(file.fd, min(BLOCK_BYTES, file.end - file.logged), file.logged)
        count = self._log.write(stream, data) if data else 0
        with self._lock:
            file.logged += count
            if count:
                self._commit()
        return count > 0

    def _after_gap(self, gap: _Gap, block: bytes) -> bytes:
        """What of `block` is to be kept: from the first whole line on."""
        if not gap.ends_in_line:
            return block
        return block[block.find(b"\n") + 1 :] if b"\n" in block else b""

    def _drop(self, gap: _Gap, data: bytes) -> None:
        if data:
            lines = data.count(b"\n")
            self._counts.drop(lines=lines, size_bytes=len(data))
            gap.lines += lines
            gap.size_bytes += len(data)
            gap.ends_in_line = not data.endswith(b"\n")

    def _close_gap(self, file: SpoolFile, gap: _Gap, kept: bytes) -> None:
        """Tell of the gap, on a line of its own, and go on with `kept`."""
        text = kept
        if gap.size_bytes:
            note = f"[{gap.lines} lines, {gap.size_bytes} bytes of output were dropped here]\n"
            is_in_line = file.end and os.pread(file.fd, 1, file.end - 1) != b"\n"
            text = (b"\n" if is_in_line else b"") + note.encode() + kept
        gap.lines = gap.size_bytes = 0
        gap.ends_in_line = False
        file.end += os.pwrite(file.fd, text, file.end)
        file.offered = file.end
