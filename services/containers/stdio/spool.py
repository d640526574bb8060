"""The way from the FIFOs to the log that kill -9 can neither cut nor double.

A spool file per stream and one small cursor file stand beside the FIFOs. A step is:

1. `splice` moves bytes from the FIFO to the end of the spool file: one system call, and a kill is
   only seen at its end, so every byte is in the one or in the other;
2. whole lines of what the spool file holds are appended to the log;
3. one `pwrite` of a few bytes records how much of the spool that was, and where the log ends now.

After a kill between 2 and 3 the log is cut back to where the cursor says it ended, and the spool
file still holds those bytes. What has been logged is dropped from the spool file in the same way:
announced in the cursor, done, announced as done. What a FIFO holds when its process ends while we
are dead is kept by the `keeper`. Not covered: a crash of the machine (nothing is synced: the
containers are gone with it).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from services.containers.stdio.streams import Stream

BLOCK_BYTES: Final = 256 * 1024  # a step: about a millisecond of work
COMPACT_BYTES: Final = 64 * 1024  # logged bytes that a spool file may keep
_KEEP: Final = -1
_POSITION_BYTES: Final = 64
# log position (length, bytes); then for stdout and stderr: logged up to, cut to (or _KEEP)
_CURSOR: Final = struct.Struct(f"<4sB{_POSITION_BYTES}sqqqq")
_MAGIC: Final = b"spl1"
_CURSOR_NAME: Final = "spool.cursor"


class LogWriter(Protocol):
    """Where lines go. Calls come one at a time, from worker threads, except `announce`."""

    def open(self, position: bytes | None) -> None:
        """Begin a run; with an earlier `position()`, cut off what was written after it."""

    def position(self) -> bytes:
        """Where the log ends: at most 64 bytes, meaningful to `open`, also in another process."""

    def recorded(self) -> None:
        """The last `position()` is on disk: a next process will begin there."""

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        """Log whole lines from the front of `data`; how many bytes that took.

        Fewer than all when an unfinished line is at the end, or to be called again (a rotation);
        0 means that there is nothing to log yet. `last`: nothing follows, log the unfinished line.
        """

    def announce(self, *, ended: bool = False) -> None:
        """On the loop: readers may have all that was written; `ended`: and no more will come."""

    def conclude(self) -> None:
        """All of the run was written, or given up: say so in the log, if need be."""

    def close(self) -> None:
        """The run is over."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One step's outcome: the bytes not handed out before, and whether the FIFO has ended."""

    block: bytes
    ended: bool


class SpoolFile:
    """One stream's spool file. Bytes from `logged` to `end` wait to be logged."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.logged = 0
        self.cut_to = _KEEP
        self.end = os.fstat(self.fd).st_size
        self.offered = 0  # bytes up to here were handed out by this process, or are
        self.owed = b""  # what a failed step did not hand out


class Spool:
    """Moves output from FIFOs to a log, exactly once.

    All methods block: call them in a thread, one at a time. After an exception from any of them the
    next call goes on where it stopped.
    """

    def __init__(self, *, directory: Path, streams: Collection[Stream], log: LogWriter) -> None:
        self._directory = directory
        self._streams = streams
        self._log = log
        self._files: dict[Stream, SpoolFile] = {}
        self._cursor_fd = -1

    def open(self) -> None:
        """Open or adopt the files; afterwards log and spool agree."""
        if self._cursor_fd >= 0:
            return
        files = {stream: SpoolFile(self._path(stream)) for stream in self._streams}
        cursor_fd = os.open(
            self._directory / _CURSOR_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._log.open(_load(os.pread(cursor_fd, _CURSOR.size, 0), files))
        self._files, self._cursor_fd = files, cursor_fd
        for file in files.values():
            self._cut(file)
            file.offered = file.logged
        self._commit()

    def holds(self, stream: Stream) -> bool:
        """Is there something left by an earlier life of ours, not handed out yet?"""
        file = self._files[stream]
        return file.offered < file.end or bool(file.owed)

    def unfinished(self, stream: Stream) -> bytes:
        """What was handed out and waits for the end of its line: some KB. Reads them."""
        file = self._files.get(stream)
        if file is None or file.offered <= file.logged:
            return b""
        return os.pread(file.fd, file.offered - file.logged, file.logged)

    def take(self, stream: Stream, fifo: int) -> Taken:
        """One step: at most BLOCK_BYTES from the FIFO, which may be empty, to the log."""
        file = self._files[stream]
        ended = False
        if not self.holds(stream):
            self._compact(file)
            moved = splice_block(fifo, file)
            ended = moved == 0
            file.end += moved or 0
        file.owed += self._log_lines(stream, file)
        self._compact(file)  # it may fail: what is owed is not lost by that
        block, file.owed = file.owed, b""
        return Taken(block, ended)

    def finish(self, stream: Stream) -> None:
        """No more will come: log the unfinished line."""
        self._log_lines(stream, self._files[stream], last=True)

    def close(self, *, remove: bool) -> None:
        """End the log's run, close the files, and remove them when all is logged for good."""
        if self._cursor_fd < 0:
            return
        if remove:
            self._log.conclude()
            self._commit()
        self._log.close()
        os.close(self._cursor_fd)
        self._cursor_fd = -1
        for file in self._files.values():
            os.close(file.fd)
        self._files = {}
        if remove:
            remove_spool(self._directory)

    def _log_lines(self, stream: Stream, file: SpoolFile, *, last: bool = False) -> bytes:
        """Log what can be; returns what was not handed out before."""
        start = min(file.logged, file.offered)  # they differ after a failure, and in mid-line
        data = os.pread(file.fd, file.end - start, start)
        while rest := data[file.logged - start :]:
            count = self._log.write(stream, rest, last=last)
            if not count:
                break
            file.logged += count
            self._commit()
        block = data[file.offered - start :]
        file.offered = file.end
        return block

    def _compact(self, file: SpoolFile) -> None:
        """Drop what is logged from the file's front, when that is worth it."""
        if file.cut_to == _KEEP and file.logged > COMPACT_BYTES:
            rest = os.pread(file.fd, file.end - file.logged, file.logged)
            if len(rest) <= file.logged:  # else it would overwrite itself
                os.pwrite(file.fd, rest, 0)
                file.cut_to = len(rest)
                self._commit()
        self._cut(file)

    def _cut(self, file: SpoolFile) -> None:
        """Finish a cut that the cursor announces: everything up to `cut_to` waits to be logged."""
        if file.cut_to == _KEEP:
            return
        os.ftruncate(file.fd, file.cut_to)
        # Compacting comes after handing out, so that what is left has been.
        file.offered = file.cut_to
        file.logged, file.end, file.cut_to = 0, file.cut_to, _KEEP
        self._commit()

    def _commit(self) -> None:
        position = self._log.position()
        fields = []
        for stream in (Stream.STDOUT, Stream.STDERR):
            file = self._files.get(stream)
            fields += [file.logged, file.cut_to] if file else [0, _KEEP]
        record = _CURSOR.pack(_MAGIC, len(position), position, *fields)
        os.pwrite(self._cursor_fd, record, 0)
        self._log.recorded()

    def _path(self, stream: Stream) -> Path:
        return self._directory / f"{stream.label}.spool"


def has_spool(directory: Path) -> bool:
    """Does a run use a spool there, or may a next process take one up? Blocks."""
    return (directory / _CURSOR_NAME).exists()


def remove_spool(directory: Path) -> None:
    """Remove a spool's files; absent ones are fine. The cursor last: it explains the rest."""
    for name in ("stdout.spool", "stderr.spool", _CURSOR_NAME):
        (directory / name).unlink(missing_ok=True)


def _load(record: bytes, files: dict[Stream, SpoolFile]) -> bytes | None:
    """Set `files` as the cursor says; the log's position, or None when there was no cursor."""
    if len(record) != _CURSOR.size or not record.startswith(_MAGIC):
        return None
    _, size, position, *fields = _CURSOR.unpack(record)
    for stream, logged, cut_to in (
        (Stream.STDOUT, fields[0], fields[1]),
        (Stream.STDERR, fields[2], fields[3]),
    ):
        if stream in files:
            file = files[stream]
            file.logged, file.cut_to = min(logged, file.end), cut_to
    return bytes(position[:size])


def splice_block(fifo: int, file: SpoolFile) -> int | None:
    """Bytes moved; 0 at the end of the stream; None when there is nothing now."""
    while True:
        try:
            return os.splice(
                fifo, file.fd, BLOCK_BYTES, offset_dst=file.end, flags=os.SPLICE_F_NONBLOCK
            )
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise
