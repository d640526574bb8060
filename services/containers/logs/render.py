"""Lines of a json-file log as a client gets them. Pure; a block of lines at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from urllib.parse import quote_plus

import msgspec

from services import typed_json
from services.containers.logs.encode import rfc3339_nano
from services.containers.logs.query import LogQuery
from services.containers.stdio.streams import Stream, frame_header

_FIXED_CHARS: Final = len("2006-01-02T15:04:05.000000000Z")
_SECOND_CHARS: Final = len("2006-01-02T15:04:05")


class Entry(msgspec.Struct, frozen=True):
    """One line of the file; `log` ends in a newline unless it is a piece of a longer line."""

    time: str
    log: str = ""
    stream: str = "stdout"
    attrs: dict[str, str] = {}


class JsonScanner:
    """A `Scanner` of json-file lines. One that is longer than the limit is no line of ours."""

    def __init__(self, query: LogQuery, *, line_limit_bytes: int) -> None:
        self._query = query
        self._limit = line_limit_bytes
        self._numbers = {stream.label: stream for stream in query.streams}
        self._decoder = typed_json.decoder(Entry)
        self._rest = b""  # the beginning of a line whose end is not read yet
        self._is_overlong = False  # `rest` was thrown away, and so is what follows up to a newline
        self._skip = 0
        self._done = False

    @property
    def is_done(self) -> bool:
        """See `Scanner`."""
        return self._done

    def begin_file(self, skip: int = 0) -> None:
        """See `Scanner`."""
        self._rest, self._is_overlong, self._skip = b"", False, skip

    def feed(self, raw: bytes) -> bytes:
        """See `Scanner`."""
        end = raw.rfind(b"\n") + 1
        if not end:
            self._keep(raw)
            return b""
        block, rest = self._rest + raw[:end], raw[end:]
        if self._is_overlong:
            block = block[block.index(b"\n") + 1 :]
            self._is_overlong = False
        self._rest = b""
        self._keep(rest)
        if self._skip:
            block = self._without_skipped(block)
        return self.render(block)

    def render(self, block: bytes) -> bytes:
        """The answer's bytes for whole lines; those that do not parse are left out."""
        entries = self._in_time(self._decode(block))
        query, numbers = self._query, self._numbers
        if query.timestamps or query.details:
            texts = [(numbers.get(e.stream), self._decorated(e)) for e in entries]
        else:
            texts = [(numbers.get(e.stream), e.log.encode()) for e in entries]
        if not query.multiplexed:
            return b"".join([text for stream, text in texts if stream is not None])
        return b"".join([_frame(stream, text) for stream, text in texts if stream is not None])

    def _keep(self, rest: bytes) -> None:
        self._rest += rest
        if len(self._rest) > self._limit:
            self._rest, self._is_overlong = b"", True

    def _without_skipped(self, block: bytes) -> bytes:
        here = block.count(b"\n")
        if here <= self._skip:
            self._skip -= here
            return b""
        position = 0
        for _ in range(self._skip):
            position = block.index(b"\n", position) + 1
        self._skip = 0
        return block[position:]

    def _decode(self, block: bytes) -> list[Entry]:
        try:
            return self._decoder.decode_lines(block)
        except ValueError:  # DecodeError and UnicodeDecodeError are
            return self._decode_each(block)

    def _decode_each(self, block: bytes) -> list[Entry]:
        entries = []
        for line in block.split(b"\n"):
            try:
                entries.append(self._decoder.decode(line))
            except ValueError:  # torn by a crash of the machine, or the empty rest
                continue
        return entries

    def _in_time(self, entries: list[Entry]) -> list[Entry]:
        if self._query.since_ns:
            since = time_key(rfc3339_nano(self._query.since_ns))
            entries = [e for e in entries if time_key(e.time) >= since]
        if self._query.until_ns:
            until = time_key(rfc3339_nano(self._query.until_ns))
            for index, entry in enumerate(entries):
                if time_key(entry.time) > until:
                    self._done = True
                    return entries[:index]
        return entries

    def _decorated(self, entry: Entry) -> bytes:
        text = entry.log
        if self._query.details:
            text = f"{details_text(entry.attrs)} {text}"
        if self._query.timestamps:
            text = f"{fixed_time(entry.time)} {text}"
        return text.encode()


def time_key(text: str) -> str:
    """A sort key for times in UTC: without the Z, a missing fraction sorts before any."""
    return text.removesuffix("Z")


def fixed_time(text: str) -> str:
    """A time of the file with all nine fraction digits, as clients get it."""
    if len(text) == _FIXED_CHARS or not text.endswith("Z"):
        return text
    bare = text[:-1]
    return (bare if "." in bare else f"{bare}.").ljust(_FIXED_CHARS - 1, "0") + "Z"


def parse_time_ns(text: str) -> int:
    """Nanoseconds since the epoch of a time as `rfc3339_nano` writes it.

    Raises:
        ValueError: it is none.
    """
    seconds = datetime.fromisoformat(f"{text[:_SECOND_CHARS]}+00:00")
    fraction = fixed_time(text)[_SECOND_CHARS + 1 : -1]
    return int(seconds.timestamp()) * 10**9 + int(fraction)


def details_text(attributes: dict[str, str]) -> str:
    """Labels and variables before a line, sorted.

    Source: moby, api/server/httputils, stringAttrs.
    """
    return ",".join(
        f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items())
    )


def _frame(stream: Stream, text: bytes) -> bytes:
    return frame_header(stream, len(text)) + text
