"""The local driver's format. Its files are private, as dockerd's are: only `logs` reads them."""

from __future__ import annotations

from typing import BinaryIO, Final

from services.containers.logs.encode import Run, rfc3339_nano, split_runs
from services.containers.logs.format import Encoded, Place
from services.containers.logs.query import LogQuery
from services.containers.logs.records import (
    OVERHEAD_BYTES,
    Record,
    RecordParser,
    pack_record,
    record_before,
    records_in,
)
from services.containers.logs.render import fixed_time
from services.containers.stdio.streams import Stream, frame_header

_STEP_BYTES: Final = 64 * 1024


class LocalRecords:
    """A `Format`: few bytes around what was printed, and those unchanged."""

    def encode(
        self, stream: Stream, data: bytes, *, time_ns: int, last: bool, room_bytes: int | None
    ) -> Encoded:
        """See `Format`."""
        records: list[bytes] = []
        consumed = lines = size = 0
        for run in split_runs(data, last=last):
            room = None if room_bytes is None else room_bytes - size - OVERHEAD_BYTES
            if room is not None and room <= 0 and records:
                break
            end = run.end if room is None else _cut(data, run, room)
            payload = data[run.start : end]
            record = pack_record(stream, payload, time_ns=time_ns, partial=run.partial)
            records.append(record)
            size += len(record)
            consumed = end
            lines += 1 if run.partial else payload.count(b"\n")
            if end < run.end:
                break
        return Encoded(b"".join(records), consumed, lines)

    def scanner(self, query: LogQuery) -> RecordScanner:
        """See `Format`."""
        return RecordScanner(query)

    def whole_end(self, file: BinaryIO, size_bytes: int) -> int:
        """See `Format`."""
        found = record_before(file, size_bytes)
        return found[0] + found[1].size_bytes if found else 0

    def last_time_ns(self, file: BinaryIO, size_bytes: int) -> int | None:
        """See `Format`."""
        found = record_before(file, size_bytes)
        return found[1].time_ns if found else None

    def find_tail(self, file: BinaryIO, size_bytes: int, lines: int) -> Place:
        """See `Format`."""
        offset = size_bytes
        while lines > 0:
            found = record_before(file, offset)
            if found is None:
                return Place(0, 0, lines)
            offset, record = found
            if record.lines >= lines:
                return Place(offset, record.lines - lines, 0)
            lines -= record.lines
        return Place(offset, 0, 0)

    def find_since(self, file: BinaryIO, size_bytes: int, since_ns: int) -> int:
        """See `Format`."""
        low, high = 0, size_bytes
        while high - low > _STEP_BYTES:
            middle = (low + high) // 2
            start, record = next(records_in(file, middle, high), (high, None))
            if record is not None and record.time_ns < since_ns:
                low = start + record.size_bytes
            else:
                high = middle
        return low

    def count_lines(self, records: bytes) -> tuple[int, int]:
        """See `Format`."""
        parser = RecordParser()
        lines = sum(record.lines for record in parser.feed(records))
        return lines, len(records) - parser.held_bytes


class RecordScanner:
    """A `Scanner` of the local driver's records."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._parser = RecordParser()
        self._skip = 0
        self._done = False

    @property
    def is_done(self) -> bool:
        """See `Scanner`."""
        return self._done

    def begin_file(self, skip: int = 0) -> None:
        """See `Scanner`."""
        self._parser, self._skip = RecordParser(), skip

    def feed(self, raw: bytes) -> bytes:
        """See `Scanner`."""
        parts = []
        for record in self._parser.feed(raw):
            if self._query.until_ns and record.time_ns > self._query.until_ns:
                self._done = True
                break
            parts.append(self._render(record))
        return b"".join(parts)

    def _render(self, record: Record) -> bytes:
        query, payload = self._query, record.payload
        if self._skip:
            skipped = min(self._skip, record.lines)
            self._skip -= skipped
            payload = _without_lines(record, skipped)
        if record.stream not in query.streams or record.time_ns < query.since_ns:
            return b""
        prefix = self._prefix(record)
        if not query.multiplexed and not prefix:
            return payload
        lines = _lines_of(payload)
        if not query.multiplexed:
            return b"".join([prefix + line for line in lines])
        head, extra = record.stream, len(prefix)
        return b"".join([frame_header(head, len(line) + extra) + prefix + line for line in lines])

    def _prefix(self, record: Record) -> bytes:
        stamp = f"{fixed_time(rfc3339_nano(record.time_ns))} " if self._query.timestamps else ""
        return f"{stamp}{' ' if self._query.details else ''}".encode()


def _cut(data: bytes, run: Run, room_bytes: int) -> int:
    """Where a run is to end for lack of room: after a line, at least one."""
    if run.partial or run.end - run.start <= room_bytes:
        return run.end
    newline = data.rfind(b"\n", run.start, run.start + max(0, room_bytes))
    return (newline if newline >= 0 else data.index(b"\n", run.start)) + 1


def _without_lines(record: Record, count: int) -> bytes:
    """The payload without its first lines."""
    if count >= record.lines:
        return b""
    position = 0
    for _ in range(count):
        position = record.payload.index(b"\n", position) + 1
    return record.payload[position:]


def _lines_of(payload: bytes) -> list[bytes]:
    """Lines with their newlines; nothing but a newline ends one."""
    *whole, rest = payload.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return [*lines, rest] if rest else lines
