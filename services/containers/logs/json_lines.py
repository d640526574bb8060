"""The json-file driver's format: a JSON object on a line of its own for each line of output."""

from __future__ import annotations

from typing import BinaryIO, Final

import msgspec

from services import typed_json
from services.containers.logs.encode import (
    Run,
    after_lines,
    encode_run,
    line_suffix,
    rfc3339_nano,
    split_runs,
)
from services.containers.logs.format import Encoded, Place
from services.containers.logs.query import LogQuery
from services.containers.logs.render import Entry, JsonScanner, parse_time_ns
from services.containers.logs.tail import find_tail, read_at
from services.containers.stdio.streams import Stream

LINE_LIMIT_BYTES: Final = 1 << 20
"""No line of ours is longer: 16 KB of text, escaped, and attributes, which are bounded."""
_STEP_BYTES: Final = 64 * 1024


class JsonLines:
    """A `Format`. `attributes` are written with each line: labels and variables that are wanted."""

    def __init__(self, attributes: dict[str, str] | None = None) -> None:
        self._attributes = msgspec.json.encode(attributes, order="sorted") if attributes else b""
        self._decoder = typed_json.decoder(Entry)

    def encode(
        self, stream: Stream, data: bytes, *, time_ns: int, last: bool, room_bytes: int | None
    ) -> Encoded:
        """See `Format`."""
        suffix = line_suffix(stream.label, self._attributes, rfc3339_nano(time_ns))
        if room_bytes is not None:  # each line makes more than its suffix
            data = data[: after_lines(data, room_bytes // len(suffix) + 1)]
        runs = list(split_runs(data, last=last))
        if not runs:
            return Encoded(b"", 0, 0)
        text = b"".join([encode_run(data, run, suffix) for run in runs])
        consumed = runs[-1].end
        if room_bytes is not None and len(text) > room_bytes:
            cut = text.find(b"\n", max(0, room_bytes - 1)) + 1
            if cut < len(text):
                text = text[:cut]
                consumed = _consumed_by(data, runs, text.count(b"\n"))
                return Encoded(text, consumed, text.count(b"\n"))
        lines = sum(1 if r.partial else data.count(b"\n", r.start, r.end) for r in runs)
        return Encoded(text, consumed, lines)

    def scanner(self, query: LogQuery) -> JsonScanner:
        """See `Format`."""
        return JsonScanner(query, line_limit_bytes=LINE_LIMIT_BYTES)

    def whole_end(self, file: BinaryIO, size_bytes: int) -> int:
        """See `Format`."""
        return _line_end(file, size_bytes)

    def last_time_ns(self, file: BinaryIO, size_bytes: int) -> int | None:
        """See `Format`. Broken lines at the end are passed over, for a megabyte."""
        end = _line_end(file, size_bytes)
        lowest = max(0, end - LINE_LIMIT_BYTES)
        while end > lowest:
            start = _line_end(file, end - 1, lowest)
            found = self._time_of(read_at(file, start, end - start))
            if found is not None:
                return found
            end = start
        return None

    def find_tail(self, file: BinaryIO, size_bytes: int, lines: int) -> Place:
        """See `Format`."""
        offset, lacking = find_tail(file, size_bytes, lines)
        return Place(offset, 0, lacking)

    def find_since(self, file: BinaryIO, size_bytes: int, since_ns: int) -> int:
        """See `Format`. Halves the file until 64 KB are left."""
        low, high = 0, size_bytes  # at `low` a line begins, and what is before it is older
        while high - low > _STEP_BYTES:
            middle = (low + high) // 2
            start, time_ns = self._line_after(file, middle, high)
            if time_ns is not None and time_ns < since_ns:
                low = start
            else:
                high = middle
        return low

    def count_lines(self, records: bytes) -> tuple[int, int]:
        """See `Format`."""
        return records.count(b"\n"), records.rfind(b"\n") + 1

    def _line_after(self, file: BinaryIO, offset: int, end: int) -> tuple[int, int | None]:
        """The first sound line that begins past `offset`, and its time; None: none before `end`."""
        start, block = offset, b""
        while start + len(block) < end and len(block) <= LINE_LIMIT_BYTES:
            more = read_at(file, start + len(block), min(_STEP_BYTES, end - start - len(block)))
            if not more:
                break
            block += more
            at = block.find(b"\n") + 1
            while at and (stop := block.find(b"\n", at) + 1):
                time_ns = self._time_of(block[at:stop])
                if time_ns is not None:
                    return start + at, time_ns
                at = stop
        return end, None

    def _time_of(self, line: bytes) -> int | None:
        try:
            return parse_time_ns(self._decoder.decode(line).time)
        except ValueError:  # DecodeError and UnicodeDecodeError are
            return None


def _line_end(file: BinaryIO, size: int, lowest: int = 0) -> int:
    """The size without an unfinished last line, which a crash of the machine may have left.

    `lowest` if there is no newline from there on.
    """
    end = size
    while end > lowest:
        start = max(lowest, end - _STEP_BYTES)
        newline = read_at(file, start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return lowest


def _consumed_by(data: bytes, runs: list[Run], lines: int) -> int:
    """How much of `data` the first `lines` lines of its encoding stand for; at least one."""
    for run in runs:
        here = 1 if run.partial else data.count(b"\n", run.start, run.end)
        if lines > here:
            lines -= here
            continue
        if run.partial:
            return run.end
        return after_lines(data, lines, run.start)
    return runs[-1].end
