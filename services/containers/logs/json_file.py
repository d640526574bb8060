"""The json-file driver: one container's log."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from services.containers.logs.encode import Run, encode_run, line_suffix, rfc3339_nano, split_runs
from services.containers.logs.feed import Extent, Feed
from services.containers.logs.files import LogFiles
from services.containers.logs.options import JsonFileOptions
from services.containers.stdio.streams import Stream

log = logger.bind(service="logs")

_POSITION: Final = struct.Struct("<QQ")  # inode, size in bytes


class JsonFileLog:
    """Writes a container's json-file log; one object for all its runs. A `stdio.LogWriter`.

    Appends whole lines at a known offset, so that what a failed or killed append left behind is
    overwritten or cut off. When the disk refuses (full, broken), lines are dropped rather than the
    container stopped, as in dockerd; here the log says so as soon as it can, and `dropped_bytes`
    counts it. `attributes` are the labels and variables that the options select.
    """

    def __init__(
        self, path: Path, options: JsonFileOptions, *, attributes: Mapping[str, str] | None = None
    ) -> None:
        self._options = options
        self._attributes = msgspec.json.encode(attributes) if attributes else b""
        self.files = LogFiles(path, max_files=options.max_files)
        self.feed = Feed()
        self.dropped_bytes = 0
        self._unreported_bytes = 0
        self._fd = -1
        self._size = 0
        self._time_ns = 0
        self._generation = 0
        self._written = Extent(generation=0, size_bytes=0)
        self._to_compress = False

    def open(self, position: bytes | None) -> None:
        """Begin a run, after the last whole line, or where `position` was."""
        self.files.scan()
        previous = self.files.previous_inode()
        self._fd = self.files.open_current()
        status = os.fstat(self._fd)
        self._size = status.st_size
        if position is None:
            self._size = _whole_lines(self._fd, self._size)
        else:
            inode, size = _POSITION.unpack(position)
            if inode == status.st_ino:
                self._size = min(size, self._size)
            elif inode == previous or self._options.max_files == 1:
                self._size = 0  # killed after a rotation that was not recorded
        os.ftruncate(self._fd, self._size)
        self._generation = self.files.generation
        self._written = Extent(generation=self._generation, size_bytes=self._size)

    def position(self) -> bytes:
        """Inode and size of the file being written."""
        return _POSITION.pack(os.fstat(self._fd).st_ino, self._size)

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        """Log from the front of `data`; see `stdio.LogWriter`. Stops where a rotation is due."""
        try:
            self._rotate_if_due()
        except OSError as error:  # past its bound is better than not at all
            log.warning("log not rotated", path=str(self.files.path), error=str(error))
        suffix = self._suffix(stream)
        runs = list(split_runs(data, last=last))
        if not runs:
            return 0
        text = b"".join([encode_run(data, run, suffix) for run in runs])
        consumed = runs[-1].end
        limit = self._options.max_bytes
        if limit is not None and self._size + len(text) > limit:
            cut = text.find(b"\n", max(0, limit - self._size - 1)) + 1
            if cut < len(text):
                consumed = _consumed_by(data, runs, text.count(b"\n", 0, cut))
                text = text[:cut]
        self._append(text)
        self._written = Extent(generation=self._generation, size_bytes=self._size)
        return consumed

    def announce(self, *, ended: bool = False) -> None:
        """Let readers see what was written."""
        if ended:
            self.feed.end(self._written)
        else:
            self.feed.announce(self._written)

    def close(self) -> None:
        """Drop what a failed append left, and close. A second call does nothing."""
        if self._fd >= 0:
            os.ftruncate(self._fd, self._size)
            self._compress_if_due()
            os.close(self._fd)
            self._fd = -1

    def _append(self, text: bytes) -> None:
        if self._unreported_bytes:
            text = self._dropped_line() + text
        try:
            _pwrite_all(self._fd, text, self._size)
        except OSError as error:
            self.dropped_bytes += len(text)
            if not self._unreported_bytes:
                log.warning(
                    "container output not logged", path=str(self.files.path), error=str(error)
                )
            self._unreported_bytes += len(text)
        else:
            self._size += len(text)
            self._unreported_bytes = 0

    def _dropped_line(self) -> bytes:
        text = f"[{self._unreported_bytes} bytes of output could not be logged here]\n".encode()
        return encode_run(text, Run(0, len(text), False), self._suffix(Stream.STDERR))

    def _suffix(self, stream: Stream) -> bytes:
        # A clock that is set back must not put a line before its predecessor.
        self._time_ns = max(self._time_ns, time.time_ns())
        return line_suffix(stream.label, self._attributes, rfc3339_nano(self._time_ns))

    def _rotate_if_due(self) -> None:
        limit = self._options.max_bytes
        self._compress_if_due()
        if limit is None or self._size < limit:
            return
        os.ftruncate(self._fd, self._size)
        self.files.rotate()
        fd = self.files.open_current()
        os.ftruncate(fd, 0)
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._size = 0
        self._generation = self.files.generation
        self._to_compress = self._options.compress

    def _compress_if_due(self) -> None:
        """Not at a rotation: x.log.1 is its proof until the caller recorded our position."""
        if not self._to_compress:
            return
        self._to_compress = False
        try:
            self.files.compress_previous()
        except OSError as error:  # readers take it as it is
            log.warning("log not compressed", path=str(self.files.path), error=str(error))


def _pwrite_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _whole_lines(fd: int, size: int) -> int:
    """The size without an unfinished last line, which a crash of the machine may have left."""
    end = size
    while end > 0:
        start = max(0, end - 64 * 1024)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _consumed_by(data: bytes, runs: list[Run], lines: int) -> int:
    """How much of `data` the first `lines` lines of its encoding stand for; at least one."""
    for run in runs:
        here = 1 if run.partial else data.count(b"\n", run.start, run.end)
        if lines > here:
            lines -= here
            continue
        if run.partial:
            return run.end
        position = run.start
        for _ in range(lines):
            position = data.index(b"\n", position) + 1
        return position
    return runs[-1].end
