"""The local driver's records: lines that came together, as they came, under one time stamp.

    magic, head's sum, length, payload's sum, time, lines, stream, flags | payload | whole length

The head has a check sum of its own, so that its length can be believed before the payload is there.
The length at the end lets a reader go backwards. What is broken is stepped over: the next record is
found by its magic and proved by its sums.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from services.containers.logs.tail import read_at
from services.containers.stdio.streams import OUTPUTS, Stream

MAX_PAYLOAD_BYTES: Final = 1 << 20  # the writer's blocks are a quarter of it at most
_MAGIC: Final = b"\x93WL1"
_HEAD: Final = struct.Struct("<4sIIIQIBB2x")
_END: Final = struct.Struct("<I")
OVERHEAD_BYTES: Final = _HEAD.size + _END.size
MAX_RECORD_BYTES: Final = OVERHEAD_BYTES + MAX_PAYLOAD_BYTES
_PARTIAL: Final = 1
_SUMMED_FROM: Final = 8  # past the magic and the head's sum
_STEP_BYTES: Final = 64 * 1024
_STREAMS: Final = {int(stream): stream for stream in OUTPUTS}


@dataclass(frozen=True, slots=True)
class Record:
    """Whole lines with their newlines, or (`partial`) a piece of a line without one."""

    stream: Stream
    time_ns: int
    lines: int
    partial: bool
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes in the file."""
        return OVERHEAD_BYTES + len(self.payload)


def pack_record(stream: Stream, payload: bytes, *, time_ns: int, partial: bool) -> bytes:
    """A record's bytes."""
    lines = 1 if partial else payload.count(b"\n")
    flags = _PARTIAL if partial else 0
    fields = len(payload), zlib.crc32(payload), time_ns, lines, stream, flags
    head_sum = zlib.crc32(_HEAD.pack(_MAGIC, 0, *fields)[_SUMMED_FROM:])
    head = _HEAD.pack(_MAGIC, head_sum, *fields)
    return b"".join((head, payload, _END.pack(OVERHEAD_BYTES + len(payload))))


def parse_record(data: bytes, offset: int = 0) -> Record | None:
    """The record at `offset`; None if there is no whole, sound one."""
    size = _claimed_size(data, offset)
    start = offset + _HEAD.size
    if size is None or start + size + _END.size > len(data):
        return None
    _, _, _, total, time_ns, lines, stream, flags = _HEAD.unpack_from(data, offset)
    payload = data[start : start + size]
    if zlib.crc32(payload) != total or stream not in _STREAMS:
        return None
    if _END.unpack_from(data, start + size) != (OVERHEAD_BYTES + size,):
        return None
    return Record(_STREAMS[stream], time_ns, lines, bool(flags & _PARTIAL), payload)


class RecordParser:
    """Finds the records in bytes that come in any cuts; holds one that is not whole yet."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held_bytes(self) -> int:
        """The beginning of a record that is not whole."""
        return len(self._rest)

    def feed(self, raw: bytes) -> Iterator[Record]:
        """The records that are whole by now. To be used up before the next call."""
        for _, record in self.feed_placed(raw):
            yield record

    def feed_placed(self, raw: bytes) -> Iterator[tuple[int, Record]]:
        """As `feed`, with each record's offset from the first byte that was held before."""
        data = self._rest + raw if self._rest else raw
        offset = 0
        while True:
            record = parse_record(data, offset)
            if record is not None:
                yield offset, record
                offset += record.size_bytes
                continue
            if _may_grow(data, offset):
                break
            found = data.find(_MAGIC, offset + 1)
            if found < 0:
                offset = max(offset, len(data) - len(_MAGIC) + 1)
                break
            offset = found
        self._rest = data[offset:]


def record_before(file: BinaryIO, end: int) -> tuple[int, Record] | None:
    """The last sound record that ends at `end` or before it, and where it begins."""
    while end > OVERHEAD_BYTES - 1:
        (size,) = _END.unpack(read_at(file, end - _END.size, _END.size))
        if OVERHEAD_BYTES <= size <= min(end, MAX_RECORD_BYTES):
            record = parse_record(read_at(file, end - size, size))
            if record is not None and record.size_bytes == size:
                return end - size, record
        start = max(0, end - 2 * MAX_RECORD_BYTES)
        last = deque(records_in(file, start, end), maxlen=1)
        if last:
            return last[0]
        if start == 0:
            break
        end = start + MAX_RECORD_BYTES  # one may lie across
    return None


def records_in(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, Record]]:
    """The sound records between two offsets, with theirs; the first need not be at `start`."""
    parser = RecordParser()
    offset = start
    while offset < end and (more := read_at(file, offset, min(_STEP_BYTES, end - offset))):
        begin = offset - parser.held_bytes
        offset += len(more)
        for at, record in parser.feed_placed(more):
            yield begin + at, record


def _claimed_size(data: bytes, offset: int) -> int | None:
    """The payload's length, if there is a sound head."""
    if len(data) - offset < _HEAD.size or not data.startswith(_MAGIC, offset):
        return None
    _, total, size, *_ = _HEAD.unpack_from(data, offset)
    head = data[offset + _SUMMED_FROM : offset + _HEAD.size]
    return size if zlib.crc32(head) == total and size <= MAX_PAYLOAD_BYTES else None


def _may_grow(data: bytes, offset: int) -> bool:
    """Whether a record that more bytes would complete may begin at `offset`."""
    rest = len(data) - offset
    if rest < _HEAD.size:
        return _MAGIC.startswith(data[offset : offset + len(_MAGIC)])
    size = _claimed_size(data, offset)
    return size is not None and rest < OVERHEAD_BYTES + size
