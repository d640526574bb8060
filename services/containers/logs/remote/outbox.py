"""The lines of a log that wait to be sent: read from its files, behind a mark that is on disk.

The mark names a file by the head of its first record, which stays the same when the file is
renamed or compressed. It is written without a sync: it outlives a kill of the engine, not a crash
of the machine, like the log itself. After a kill lines that were sent just before are sent again.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from services.containers.logs.feed import Extent
from services.containers.logs.files import LogFiles, Opened
from services.containers.logs.records import Record, RecordParser
from services.containers.logs.remote.lines import Line, LineCutter, Mark

_READ_BYTES: Final = 256 * 1024
_HEAD_BYTES: Final = 28  # of a record: with its sums and its time no two are the same
_MARK: Final = struct.Struct(f"<4s{_HEAD_BYTES}sQII")
_MAGIC: Final = b"wmk1"


class Outbox:
    """Reads what comes behind the mark. The methods block: one call at a time, in a thread.

    Attributes:
        mark: what is not to be sent again ends here.
    """

    def __init__(self, files: LogFiles, mark_path: Path, container_id: str) -> None:
        self._files = files
        self._mark_path = mark_path
        self._container_id = container_id
        self._cutter = LineCutter(container_id)
        self._opened: Opened | None = None
        self._parser = RecordParser()
        self._offset = 0  # of the first byte that the parser has not had
        self._reading = 0  # the generation that is open, or will be
        self._skip = 0
        self.mark = Mark(0, 0)
        self.lost_files = 0

    def open(self) -> None:
        """Stand behind what was sent, by this engine or an earlier one."""
        self._files.scan()
        self._files.follow(self, 0)  # nothing may go before we know where we stand
        self.mark = self._load()
        self.rewind()

    def rewind(self) -> None:
        """Read from the mark again."""
        self._leave()
        self._cutter = LineCutter(self._container_id)
        self._stand(self.mark.generation, self.mark.offset, self.mark.skip)

    def read(self, upto: Extent | None) -> list[Line]:
        """The next lines, some hundred KB of them; none: that was all up to there.

        `upto` None: nobody is writing, and the files are read to their ends.
        """
        while True:
            if self._opened is None and not self._enter():
                return []
            newest = self._files.generation if upto is None else upto.generation
            lines = self._read_here(upto, newest)
            if lines:
                return lines
            if self._reading >= newest:
                return []
            self._leave()
            self._stand(self._reading + 1, 0, 0)

    def commit(self, mark: Mark) -> None:
        """What comes before `mark` is not to be sent again."""
        self.mark = mark
        self._files.follow(self, mark.generation)
        data = _pack(self._identity(mark.generation), mark)
        fd = os.open(self._mark_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the files. `open` may be called again."""
        self._files.unfollow(self)
        self._leave()

    def size_behind(self, upto: Extent | None) -> int:
        """Bytes of the files behind the mark."""
        newest = self._files.generation if upto is None else upto.generation
        size = -self.mark.offset
        for generation in range(self.mark.generation, newest + 1):
            if upto is not None and generation == newest:
                size += upto.size_bytes
                continue
            opened = self._files.open(generation)
            if opened is not None:
                with opened.file:
                    size += os.fstat(opened.file.fileno()).st_size
        return max(0, size)

    def _read_here(self, upto: Extent | None, newest: int) -> list[Line]:
        assert self._opened is not None
        while True:
            count = _READ_BYTES
            if upto is not None and self._reading == newest:
                count = min(count, upto.size_bytes - self._offset)
            raw = self._opened.file.read(count) if count > 0 else b""
            if not raw:
                return []
            begin = self._offset - self._parser.held_bytes
            self._offset += len(raw)
            found: list[tuple[int, Record]] = [
                (begin + at, record) for at, record in self._parser.feed_placed(raw)
            ]
            lines = self._cutter.cut(found, generation=self._reading, skip=self._skip)
            if found:
                self._skip = 0
            if lines:
                return lines

    def _stand(self, generation: int, offset: int, skip: int) -> None:
        self._reading, self._offset, self._skip = generation, offset, skip
        self._parser = RecordParser()

    def _enter(self) -> bool:
        oldest = self._files.oldest()
        if oldest > self._reading:
            self.lost_files += oldest - self._reading
            self._stand(oldest, 0, 0)
        self._opened = self._files.open(self._reading)
        if self._opened is None:
            return False
        if self._offset:
            self._opened.file.seek(self._offset)
        return True

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened.file.close()
            self._opened = None

    def _identity(self, generation: int) -> bytes:
        opened = self._files.open(generation)
        if opened is None:
            return b""
        with opened.file:
            return opened.file.read(_HEAD_BYTES)

    def _load(self) -> Mark:
        """The mark on disk; the oldest file's beginning if there is none, or its file is gone."""
        oldest = self._files.oldest()
        try:
            data = self._mark_path.read_bytes()
        except FileNotFoundError:
            return Mark(oldest, 0)
        found = _unpack(data)
        if found is not None:
            identity, offset, skip = found
            for generation in range(self._files.generation, oldest - 1, -1):
                if self._identity(generation) == identity:
                    return Mark(generation, offset, skip)
        return Mark(oldest, 0)


def _pack(identity: bytes, mark: Mark) -> bytes:
    summed = _MARK.pack(_MAGIC, identity, mark.offset, mark.skip, 0)
    return _MARK.pack(_MAGIC, identity, mark.offset, mark.skip, zlib.crc32(summed))


def _unpack(data: bytes) -> tuple[bytes, int, int] | None:
    """A file's identity, an offset and lines to skip; None: it was not written whole."""
    if len(data) != _MARK.size:
        return None
    magic, identity, offset, skip, total = _MARK.unpack(data)
    if magic != _MAGIC or zlib.crc32(_MARK.pack(magic, identity, offset, skip, 0)) != total:
        return None
    return identity, offset, skip
