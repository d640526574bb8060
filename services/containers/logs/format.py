"""What a log's files consist of: the seam between the drivers that write files and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol

from services.containers.logs.query import LogQuery
from services.containers.stdio.streams import Stream


@dataclass(frozen=True, slots=True)
class Encoded:
    """Whole records to append; the bytes of output and the lines of the log that they stand for."""

    records: bytes
    consumed: int
    lines: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader begins in a file: at an offset, past some lines; `lacking` are older."""

    offset: int
    skip: int
    lacking: int


class Scanner(Protocol):
    """One answer in the making. Fed with a file's bytes in any cuts, it gives the client's."""

    @property
    def is_done(self) -> bool:
        """Past the query's `until_ns`: nothing more will be given."""

    def begin_file(self, skip: int = 0) -> None:
        """What comes is another file's; leave out its first `skip` lines."""

    def feed(self, raw: bytes) -> bytes:
        """The answer's bytes for the records that are whole by now; broken ones are left out."""


class Format(Protocol):
    """Turns output into records and back. Stateless; the methods on files block.

    The first `size_bytes` of a file are looked at. Times do not decrease within a log.
    """

    def encode(
        self, stream: Stream, data: bytes, *, time_ns: int, last: bool, room_bytes: int | None
    ) -> Encoded:
        """Records for whole lines from the front of `data`; `last`: the unfinished line too.

        Stops with the line that passes `room_bytes`, at least one.
        """

    def scanner(self, query: LogQuery) -> Scanner:
        """What turns records into the answer to `query`."""

    def whole_end(self, file: BinaryIO, size_bytes: int) -> int:
        """Where the last whole record ends."""

    def last_time_ns(self, file: BinaryIO, size_bytes: int) -> int | None:
        """When the last record was written, if there is one."""

    def find_tail(self, file: BinaryIO, size_bytes: int, lines: int) -> Place:
        """Where the last `lines` lines begin; reads about as much as they take."""

    def find_since(self, file: BinaryIO, size_bytes: int, since_ns: int) -> int:
        """A place before which all is older than `since_ns`, and which is not much before that."""

    def count_lines(self, records: bytes) -> tuple[int, int]:
        """Lines in the whole records at the front of `records`, and those records' bytes."""
