"""A tar stream read once, forwards, in bounded memory, from a peer that is not trusted.

The standard library's tarfile keeps every member it saw, reads a long-name header of any size into
memory and follows what headers say of sparse maps. Here each header record has a size bound, the
number of entries too, and nothing is ever written to the file system.

Formats: ustar, GNU (long names and links, base-256 numbers) and pax.
Source: POSIX.1-2001 pax interchange format; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.errors import InvalidParameter

BLOCK: Final = 512
CHUNK_BYTES: Final = 1 << 20
MAX_EXTENDED_HEADER_BYTES: Final = 1 << 20
MAX_NAME_BYTES: Final = 4096
MAX_ENTRIES: Final = 200_000


class EntryType(enum.Enum):
    """What an entry is; everything but files and links is told apart only to be passed over."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    DIRECTORY = "directory"
    OTHER = "other"


_TYPES: Final = {
    b"0": EntryType.FILE, b"\0": EntryType.FILE, b"7": EntryType.FILE,
    b"1": EntryType.HARD_LINK, b"2": EntryType.SYMLINK, b"5": EntryType.DIRECTORY,
}  # fmt: skip
_SPARSE: Final = b"S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. `name` and `target` are as the archive spells them: judge before use."""

    name: str
    type: EntryType
    size_bytes: int
    target: str = ""  # of links


@dataclass(slots=True)
class _Overrides:
    """What extended headers say about the next entry, or about all that follow."""

    values: dict[str, str] = field(default_factory=dict)

    def size_bytes(self, otherwise: int) -> int:
        text = self.values.get("size")
        if text is None:
            return otherwise
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise InvalidParameter("invalid tar archive: bad size in a pax header")
        return int(text)


class TarReader:
    """Iterates over the entries; `chunks()` gives the data of the entry last yielded, if wanted.

    Args:
        read: gives up to that many bytes, fewer only at the end or when it likes; b"" is the end.

    Raises (while iterating):
        InvalidParameter: the stream is not a tar, is truncated, or passes a bound.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left_bytes = 0  # of the current entry's data
        self._padding_bytes = 0  # after it

    def __iter__(self) -> Iterator[Entry]:
        everywhere = _Overrides()
        for _ in range(MAX_ENTRIES):
            self._skip_rest()
            entry = self._next_entry(everywhere)
            if entry is None:
                return
            yield entry
        raise InvalidParameter(f"invalid tar archive: more than {MAX_ENTRIES} entries")

    def chunks(self) -> Iterator[bytes]:
        """The current entry's data in pieces of at most CHUNK_BYTES. Once only."""
        while self._left_bytes:
            data = self._read_some(min(CHUNK_BYTES, self._left_bytes))
            self._left_bytes -= len(data)
            yield data

    def _next_entry(self, everywhere: _Overrides) -> Entry | None:
        once = _Overrides()
        while (header := self._read_header()) is not None:
            kind, size = header[156:157], _number(header[124:136])
            match kind:
                case b"L" | b"K":
                    value = _text(self._extended(size).rstrip(b"\0"))
                    once.values["path" if kind == b"L" else "linkpath"] = value
                case b"x" | b"X":
                    once.values.update(_pax_records(self._extended(size)))
                case b"g":
                    everywhere.values.update(_pax_records(self._extended(size)))
                case _:
                    return self._entry(header, _Overrides(everywhere.values | once.values))
        if once.values:
            raise InvalidParameter("invalid tar archive: it ends after an extended header")
        return None

    def _entry(self, header: bytes, overrides: _Overrides) -> Entry:
        values = overrides.values
        if header[156:157] == _SPARSE or any(key.startswith("GNU.sparse.") for key in values):
            raise InvalidParameter("invalid tar archive: sparse entries are not accepted")
        kind = _TYPES.get(header[156:157], EntryType.OTHER)
        size = overrides.size_bytes(_number(header[124:136]))
        if kind in (EntryType.HARD_LINK, EntryType.SYMLINK, EntryType.DIRECTORY):
            size = 0  # some writers put the target's size there; no data follows
        name = values.get("path") or _ustar_name(header)
        target = values.get("linkpath") or _text(_cut(header[157:257]))
        for text in (name, target):
            if len(text.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
                raise InvalidParameter(
                    f"invalid tar archive: a name is longer than {MAX_NAME_BYTES} bytes"
                )
        self._expect_data(size)
        return Entry(name=name, type=kind, size_bytes=size, target=target)

    def _read_header(self) -> bytes | None:
        """The next header block; None at the end mark, or where the stream ends between entries."""
        header = self._read_exactly(BLOCK, may_end=True)
        if not header or not header.strip(b"\0"):
            return None
        unsigned = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
        if _number(header[148:156]) != unsigned:
            raise InvalidParameter("invalid tar header")
        return header

    def _extended(self, size: int) -> bytes:
        if size > MAX_EXTENDED_HEADER_BYTES:
            raise InvalidParameter(
                "invalid tar archive: an extended header is longer than "
                f"{MAX_EXTENDED_HEADER_BYTES} bytes"
            )
        self._expect_data(size)
        data = b"".join(self.chunks())
        self._skip_rest()
        return data

    def _expect_data(self, size: int) -> None:
        self._left_bytes, self._padding_bytes = size, -size % BLOCK

    def _skip_rest(self) -> None:
        for _ in self.chunks():
            pass
        self._read_exactly(self._padding_bytes)
        self._padding_bytes = 0

    def _read_exactly(self, wanted: int, *, may_end: bool = False) -> bytes:
        data = self._read(wanted) if wanted else b""
        while len(data) < wanted:
            more = self._read(wanted - len(data))
            if not more:
                break
            data += more
        if len(data) < wanted and (data or not may_end):
            raise InvalidParameter("invalid tar archive: unexpected EOF")
        return data

    def _read_some(self, limit: int) -> bytes:
        data = self._read(limit)
        if not data:
            raise InvalidParameter("invalid tar archive: unexpected EOF")
        return data


def _number(text: bytes) -> int:
    """A header's number: octal digits, or base 256 when the first bit is set (GNU)."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big") & ~(1 << (len(text) * 8 - 1))
        if text[0] == 0xFF or value >= 1 << 63:
            raise InvalidParameter("invalid tar header: a number is out of range")
        return value
    digits = _cut(text).strip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise InvalidParameter("invalid tar header")
    return int(digits, 8)


def _cut(text: bytes) -> bytes:
    return text.split(b"\0", 1)[0]


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _ustar_name(header: bytes) -> str:
    name = _text(_cut(header[:100]))
    # Only POSIX's magic says that there is a prefix: GNU's has other things in its place.
    prefix = _text(_cut(header[345:500])) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _pax_records(data: bytes) -> Mapping[str, str]:
    """`length key=value\\n`, where the length counts the whole record."""
    records: dict[str, str] = {}
    rest = data
    while rest.strip(b"\0"):
        length_text, space, _ = rest[:20].partition(b" ")
        length = int(length_text) if space and length_text.isdigit() else 0
        record = rest[len(length_text) + 1 : length - 1]
        key, equals, value = record.partition(b"=")
        if not 5 <= length <= len(rest) or not equals or rest[length - 1 : length] != b"\n":
            raise InvalidParameter("invalid tar archive: malformed pax header")
        records[_text(key)] = _text(value)
        rest = rest[length:]
    return records
