"""One container's log in files, whatever their format."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from loguru import logger

from services.containers.logs.counts import LogCounts
from services.containers.logs.encode import after_lines
from services.containers.logs.feed import Extent, Feed
from services.containers.logs.files import LogFiles
from services.containers.logs.format import Encoded, Format
from services.containers.logs.options import FileOptions
from services.containers.logs.packed import Contents
from services.containers.logs.reserve import Reserve, has_room
from services.containers.stdio.streams import Stream

log = logger.bind(service="logs")

_POSITION: Final = struct.Struct("<QQQ")  # inode, size in bytes, bytes that are not told of
_OLD_POSITION: Final = struct.Struct("<QQ")  # up to version 0.1
_MOST_BYTES: Final = (1 << 64) - 1
_LONG_TIME_NS: Final = 1_999_999_999_999_999_999  # no time has more digits
_STEP_BYTES: Final = 256 * 1024
# What one call may make of its lines, attributes and all: so much that the loop, which waits for
# the interpreter meanwhile, does not wait for a millisecond.
_ENCODED_BYTES: Final = 1024 * 1024

Packing = Callable[["FileLog"], object]
"""Takes note that a log has files to compress. Called from worker threads; must not block long."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What readers could read before a rotation that no write led to, and after it."""

    before: Extent
    after: Extent


class FileLog:
    """Writes a container's log; one object for all its runs. A `stdio.LogWriter`.

    Appends whole records at a known offset, so that what a failed or killed append left behind is
    overwritten or cut off. When the disk refuses (full, broken), lines are dropped rather than the
    container stopped, as in dockerd; here the log says so as soon as it can, at the run's end also
    on a full disk (see `reserve`), and `counts` has it.
    Without `packing` a rotated file is compressed in the midst of writing. `rotate_early` and
    `drop_oldest` may be called from other threads meanwhile.
    """

    spares_unread = False  # what a follower has still to read is not dropped

    def __init__(
        self,
        path: Path,
        options: FileOptions,
        format: Format,
        *,
        counts: LogCounts | None = None,
        packing: Packing | None = None,
    ) -> None:
        self.files = LogFiles(path, max_files=options.max_files)
        self.format = format
        self.feed = Feed()
        self._options = options
        self._counts = counts or LogCounts()
        self._packing = packing or pack_now
        self._unreported_bytes = 0
        self._reserve = Reserve()
        self._note_format: Format | None = None  # which the next one is true of
        self._longest_note = 0
        self._fd = -1
        self._size = 0
        self._time_ns = 0
        self._generation = 0
        self._written = Extent(generation=0, size_bytes=0)
        self._to_pack = False
        self._given = 0  # the generation in the position that was given last
        self._lock = threading.Lock()  # whose holder may write or rotate
        self._is_recorded = True  # where the log ends stands in the spool's cursor
        self._is_due = False  # a rotation was asked for that has to wait for the next write
        self._is_proof = False  # x.log.1 is where the cursor still says that the log ends

    def open(self, position: bytes | None) -> None:
        """Begin a run, after the last whole record, or where `position` was."""
        with self._lock:
            self._open(position)

    def _open(self, position: bytes | None) -> None:
        self.files.scan()
        previous = self.files.previous_inode()
        self._fd = self.files.open_current()
        status = os.fstat(self._fd)
        self._size = status.st_size
        with os.fdopen(self._fd, "rb", buffering=0, closefd=False) as file:
            if position is None:
                self._size = self.format.whole_end(file, self._size)
            else:
                inode, size, self._unreported_bytes = _read_position(position)
                if inode == status.st_ino:
                    self._size = min(size, self._size)
                elif inode == previous or self._options.max_files == 1:
                    self._size = 0  # killed after a rotation that was not recorded
            os.ftruncate(self._fd, self._size)
            # A clock that was set back while nobody wrote must not either; see `_now_ns`.
            self._time_ns = max(self._time_ns, self.format.last_time_ns(file, self._size) or 0)
        self._reserve.begin(self._fd, self._size, self._note_bytes())
        self._generation = self.files.generation
        self._to_pack = self._options.compress
        self._written = Extent(generation=self._generation, size_bytes=self._size)
        self._is_recorded = self._is_due = self._is_proof = False

    def position(self) -> bytes:
        """Inode and size of the file being written, and what it does not say yet of the lost."""
        self._given = self._generation
        return _POSITION.pack(os.fstat(self._fd).st_ino, self._size, self._unreported_bytes)

    def recorded(self) -> None:
        """See `stdio.LogWriter`."""
        with self._lock:
            self._is_recorded = True
            if self._given == self._generation:  # no rotation came in between
                self._is_proof = False

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        """Log from the front of `data`; see `stdio.LogWriter`. Stops where a rotation is due."""
        with self._lock:
            return self._write(stream, data, last=last)

    def _write(self, stream: Stream, data: bytes, *, last: bool) -> int:
        try:
            self._rotate_if_due()
        except OSError as error:  # past its bound is better than not at all
            log.warning("log not rotated", path=str(self.files.path), error=str(error))
        limit = self._options.max_bytes
        room = None if limit is None else max(0, limit - self._size)
        some = self._bounded(data)
        encoded = self._encode(stream, some, last=last and some is data, room=room)
        if encoded.consumed:
            self._is_recorded = False
            self._append(encoded)
            self._written = Extent(generation=self._generation, size_bytes=self._size)
        return encoded.consumed

    def announce(self, *, ended: bool = False) -> None:
        """Let readers see what was written."""
        if ended:
            self.feed.end(self._written)
        else:
            self.feed.announce(self._written)

    def conclude(self) -> None:
        """See `stdio.LogWriter`; what the disk does not take even now a next run tells of."""
        with self._lock:
            if not self._unreported_bytes:
                return
            note = self._dropped_note()
            try:
                _pwrite_all(self._fd, note, self._size)
            except OSError as error:
                log.warning("lost output not told of", path=str(self.files.path), error=str(error))
                return
            self._size += len(note)
            self._unreported_bytes = 0
            self._written = Extent(generation=self._generation, size_bytes=self._size)

    def close(self) -> None:
        """Drop what a failed append left, and close. A second call does nothing."""
        with self._lock:
            if self._fd >= 0:
                os.ftruncate(self._fd, self._size)
                self._pack_if_due()
                os.close(self._fd)
                self._fd = -1

    def rotate_early(self, is_idle: Callable[[], bool]) -> Rotated | None:
        """Rotate although the newest file is not full; `announce_rotation` comes after it.

        `is_idle`: whether no run's spool is there, asked when no run is under way. None: there is
        nothing to rotate, or not yet: then the next write begins with it.

        Raises:
            OSError: the disk refused.
        """
        with self._lock:
            if self._fd < 0:
                if is_idle():
                    self.files.scan()
                    self.files.rotate()
                return None
            if not self._is_recorded or self._is_proof:
                self._is_due = True
                return None
            if not self._size:
                return None
            before = self._written
            self._rotate()
            self._written = Extent(generation=self._generation, size_bytes=0)
            return Rotated(before, self._written)

    def announce_rotation(self, rotated: Rotated) -> None:
        """On the loop: readers of a log that is not written to just now learn of it."""
        if self.feed.extent == rotated.before:
            self.feed.announce(rotated.after)

    def drop_oldest(self, is_idle: Callable[[], bool]) -> int:
        """Remove the oldest file but the newest; the bytes it had, 0: none may go. See `files`.

        Raises:
            OSError: the disk refused.
        """
        with self._lock:
            self.files.scan()
            is_proof = self._is_proof or not self._is_recorded if self._fd >= 0 else not is_idle()
            return self.files.drop_oldest(spare_unread=self.spares_unread, spare_inode=is_proof)

    def pack_one(self, checkpoint: Callable[[], object]) -> bool:
        """Compress a file that may be. False: there is none. Blocks long; one call at a time.

        `checkpoint` is called often; what it raises ends the work.
        """
        try:
            return self.files.pack_one(partial(_describe, self.format), checkpoint)
        except OSError as error:  # readers take it as it is
            log.warning("log not compressed", path=str(self.files.path), error=str(error))
            return False

    def _bounded(self, data: bytes) -> bytes:
        """`data`, or so many of its lines as one call may encode by what each of them bears."""
        most = max(1, _ENCODED_BYTES // self._note_bytes())
        return data if len(data) <= most else data[: after_lines(data, most)]

    def _encode(self, stream: Stream, data: bytes, *, last: bool, room: int | None) -> Encoded:
        # A clock that is set back must not put a line before its predecessor.
        self._time_ns = max(self._time_ns, time.time_ns())
        return self.format.encode(stream, data, time_ns=self._time_ns, last=last, room_bytes=room)

    def _append(self, encoded: Encoded) -> None:
        records = encoded.records
        if self._unreported_bytes:
            records = self._dropped_note() + records
        try:
            self._reserve.cover(self._fd, self._size + len(records), self._note_bytes())
            _pwrite_all(self._fd, records, self._size)
        except OSError as error:
            self._counts.refuse(lines=encoded.lines, size_bytes=encoded.consumed)
            if not self._unreported_bytes:
                log.warning(
                    "container output not logged", path=str(self.files.path), error=str(error)
                )
            self._unreported_bytes += encoded.consumed
        else:
            self._counts.write(lines=encoded.lines, size_bytes=encoded.consumed)
            self._size += len(records)
            self._unreported_bytes = 0

    def _dropped_note(self) -> bytes:
        text = _note_text(self._unreported_bytes)
        return self._encode(Stream.STDERR, text, last=True, room=None).records

    def _note_bytes(self) -> int:
        """How long such a line may be: with the attributes of each line it can be some KB."""
        if self._note_format is not self.format:
            text = _note_text(_MOST_BYTES)
            note = self.format.encode(
                Stream.STDERR, text, time_ns=_LONG_TIME_NS, last=True, room_bytes=None
            )
            self._note_format, self._longest_note = self.format, len(note.records)
        return self._longest_note

    def _rotate_if_due(self) -> None:
        limit = self._options.max_bytes
        self._pack_if_due()
        is_full = limit is not None and self._size >= limit
        # On a full disk a new file could not even say what is missing; this one can.
        if (is_full or (self._is_due and self._size)) and has_room(self.files.path):
            self._rotate()

    def _rotate(self) -> None:
        os.ftruncate(self._fd, self._size)
        self.files.rotate()
        fd = self.files.open_current()
        os.ftruncate(fd, 0)
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._size = 0
        self._reserve.begin(self._fd, 0, self._note_bytes())
        self._generation = self.files.generation
        self._to_pack = self._options.compress
        self._is_due, self._is_proof = False, True

    def _pack_if_due(self) -> None:
        """Not at a rotation: x.log.1 is its proof until the caller recorded our position."""
        if self._to_pack:
            self._to_pack = False
            self.files.allow_packing()
            self._packing(self)


def pack_now(written: FileLog) -> None:
    """A `Packing` that compresses at once."""
    while written.pack_one(lambda: None):
        pass


def _describe(format: Format, file: BinaryIO) -> Contents:
    """What a reader of the compressed file will ask."""
    lines, rest = 0, b""
    while block := file.read(_STEP_BYTES):
        data = rest + block
        here, used = format.count_lines(data)
        lines, rest = lines + here, data[used:]
    return Contents(format.last_time_ns(file, os.fstat(file.fileno()).st_size), lines)


def _note_text(lost_bytes: int) -> bytes:
    return f"[{lost_bytes} bytes of output could not be logged here]\n".encode()


def _read_position(position: bytes) -> tuple[int, int, int]:
    if len(position) == _OLD_POSITION.size:
        return (*_OLD_POSITION.unpack(position), 0)
    return _POSITION.unpack(position)


def _pwrite_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
