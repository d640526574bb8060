"""Lines of a json-file log as a client gets them. Pure; a block of lines at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_plus

import msgspec

from services.containers.logs.encode import rfc3339_nano
from services.containers.logs.query import LogQuery
from services.containers.stdio.streams import Stream, frame_header

_FIXED_CHARS: Final = len("2006-01-02T15:04:05.000000000Z")


class Entry(msgspec.Struct, frozen=True):
    """One line of the file; `log` ends in a newline unless it is a piece of a longer line."""

    time: str
    log: str = ""
    stream: str = "stdout"
    attrs: dict[str, str] = {}


@dataclass(slots=True)
class Renderer:
    """Turns blocks of whole lines into what `query` asks for; `done` once past its `until_ns`."""

    query: LogQuery
    done: bool = False
    _decoder: msgspec.json.Decoder[Entry] = field(
        default_factory=lambda: msgspec.json.Decoder(Entry)
    )

    def render(self, block: bytes) -> bytes:
        """The answer's bytes for `block`; lines that do not parse are left out."""
        entries = self._in_time(self._decode(block))
        query = self.query
        numbers = {stream.label: stream for stream in query.streams}
        if query.timestamps or query.details:
            texts = [(numbers.get(e.stream), self._decorated(e)) for e in entries]
        else:
            texts = [(numbers.get(e.stream), e.log.encode()) for e in entries]
        if not query.multiplexed:
            return b"".join([text for stream, text in texts if stream is not None])
        return b"".join([_frame(stream, text) for stream, text in texts if stream is not None])

    def _decode(self, block: bytes) -> list[Entry]:
        try:
            return self._decoder.decode_lines(block)
        except msgspec.DecodeError:
            return self._decode_each(block)

    def _decode_each(self, block: bytes) -> list[Entry]:
        entries = []
        for line in block.splitlines():
            try:
                entries.append(self._decoder.decode(line))
            except msgspec.DecodeError:  # torn by a crash of the machine
                continue
        return entries

    def _in_time(self, entries: list[Entry]) -> list[Entry]:
        if self.query.since_ns:
            since = time_key(rfc3339_nano(self.query.since_ns))
            entries = [e for e in entries if time_key(e.time) >= since]
        if self.query.until_ns:
            until = time_key(rfc3339_nano(self.query.until_ns))
            for index, entry in enumerate(entries):
                if time_key(entry.time) > until:
                    self.done = True
                    return entries[:index]
        return entries

    def _decorated(self, entry: Entry) -> bytes:
        text = entry.log
        if self.query.details:
            text = f"{details_text(entry.attrs)} {text}"
        if self.query.timestamps:
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


def details_text(attributes: dict[str, str]) -> str:
    """Labels and variables before a line, sorted.

    Source: moby, api/server/httputils, stringAttrs.
    """
    return ",".join(
        f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items())
    )


def _frame(stream: Stream, text: bytes) -> bytes:
    return frame_header(stream, len(text)) + text
