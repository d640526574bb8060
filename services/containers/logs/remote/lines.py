"""Lines on their way to a server, cut out of the local driver's records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from services.containers.logs.records import Record
from services.containers.stdio.streams import Stream

_ID_BYTES: Final = 32  # as many hex digits as dockerd's


class Partial(msgspec.Struct, frozen=True, gc=False):
    """A piece of a line that was too long; pieces of one line share `id` and count from 1."""

    id: str
    ordinal: int
    last: bool


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A place in a log: a generation's file, the offset of a record, lines of it that are done."""

    generation: int
    offset: int
    skip: int = 0


class Line(msgspec.Struct, frozen=True, gc=False):
    """One message: a line without its newline, or a piece of one.

    `after` is the place behind it; None for what we say ourselves, which stands in no file. A
    struct, because there is one for each line: a frozen dataclass takes ten times as long to make.
    """

    stream: Stream
    time_ns: int
    text: bytes
    partial: Partial | None = None
    after: Mark | None = None

    @property
    def size_bytes(self) -> int:
        """Of the process's output."""
        is_whole = self.partial is None or self.partial.last
        return len(self.text) + 1 if is_whole else len(self.text)


class LineCutter:
    """Makes lines of records, and remembers which stream is in the midst of a long one."""

    def __init__(self, container_id: str) -> None:
        self._container_id = container_id
        self._open: dict[Stream, Partial] = {}

    def cut(
        self, records: Iterable[tuple[int, Record]], *, generation: int, skip: int = 0
    ) -> list[Line]:
        """The lines of records with their offsets; the first `skip` of the first one are left out.

        A line that is left out may have ended a long one: what follows is then a line of its own.
        """
        lines: list[Line] = []
        for offset, record in records:
            lines += self._of(record, offset, generation)[skip:]
            skip = 0
        return lines

    def _of(self, record: Record, offset: int, generation: int) -> list[Line]:
        behind = Mark(generation, offset + record.size_bytes)
        stream, time_ns = record.stream, record.time_ns
        if record.partial:
            partial = self._next_piece(stream, time_ns, offset)
            return [Line(stream, time_ns, record.payload, partial, behind)]
        texts = record.payload.split(b"\n")
        if texts[-1] == b"":
            texts.pop()
        end = self._end_of_long_line(stream)
        last = len(texts) - 1
        return [
            Line(
                stream,
                time_ns,
                text,
                end if number == 0 else None,
                behind if number == last else Mark(generation, offset, number + 1),
            )
            for number, text in enumerate(texts)
        ]

    def _next_piece(self, stream: Stream, time_ns: int, offset: int) -> Partial:
        before = self._open.get(stream)
        if before is None:
            seed = f"{self._container_id} {stream.label} {time_ns} {offset}".encode()
            piece = Partial(hashlib.sha256(seed).hexdigest()[: 2 * _ID_BYTES], 1, False)
        else:
            piece = Partial(before.id, before.ordinal + 1, False)
        self._open[stream] = piece
        return piece

    def _end_of_long_line(self, stream: Stream) -> Partial | None:
        before = self._open.pop(stream, None)
        return None if before is None else Partial(before.id, before.ordinal + 1, True)
