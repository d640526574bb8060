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
from decimal import Decimal, InvalidOperation
from typing import Final

from services.errors import InvalidParameter

BLOCK: Final = 512
CHUNK_BYTES: Final = 1 << 20
MAX_EXTENDED_HEADER_BYTES: Final = 1 << 20
MAX_NAME_BYTES: Final = 4096
MAX_ENTRIES: Final = 200_000


class EntryType(enum.Enum):
    """What an entry is; `OTHER` is what no file system knows."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    DIRECTORY = "directory"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"
    OTHER = "other"


_TYPES: Final = {
    b"0": EntryType.FILE, b"\0": EntryType.FILE, b"7": EntryType.FILE,
    b"1": EntryType.HARD_LINK, b"2": EntryType.SYMLINK, b"5": EntryType.DIRECTORY,
    b"3": EntryType.CHARACTER_DEVICE, b"4": EntryType.BLOCK_DEVICE, b"6": EntryType.FIFO,
}  # fmt: skip
_DEVICES: Final = frozenset({EntryType.CHARACTER_DEVICE, EntryType.BLOCK_DEVICE})
_XATTR: Final = "SCHILY.xattr."
_MAX_ID: Final = 2**32 - 2  # the last one means "leave it"
_MAX_TIME_S: Final = 2**55
_SPARSE: Final = b"S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. `name` and `target` are as the archive spells them: judge before use."""

    name: str
    type: EntryType
    size_bytes: int
    target: str = ""  # of links
    mode: int = 0o644  # permissions with setuid, setgid and sticky
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    device: tuple[int, int] = (0, 0)  # major and minor, of devices
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


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

    def number(self, key: str, otherwise: int) -> int:
        text = self.values.get(key)
        if text is None:
            return otherwise
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise InvalidParameter(f"invalid tar archive: bad {key} in a pax header")
        return int(text)

    def mtime_ns(self, otherwise_s: int) -> int:
        text = self.values.get("mtime")
        try:
            seconds = Decimal(otherwise_s if text is None else text[:40])
        except InvalidOperation:
            raise InvalidParameter("invalid tar archive: bad mtime in a pax header") from None
        if not seconds.is_finite() or abs(seconds) > _MAX_TIME_S:
            raise InvalidParameter("invalid tar archive: a time is out of range")
        return min(max(int(seconds * 10**9), -(2**63)), 2**63 - 1)

    def xattrs(self) -> dict[str, bytes]:
        return {
            key.removeprefix(_XATTR): value.encode(errors="surrogateescape")
            for key, value in self.values.items()
            if key.startswith(_XATTR)
        }


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
        if kind not in (EntryType.FILE, EntryType.OTHER):
            size = 0  # some writers put the target's size there; no data follows
        name = values.get("path") or _ustar_name(header)
        target = values.get("linkpath") or _text(_cut(header[157:257]))
        for text in (name, target):
            if len(text.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
                raise InvalidParameter(
                    f"invalid tar archive: a name is longer than {MAX_NAME_BYTES} bytes"
                )
        uid = overrides.number("uid", _number(header[108:116]))
        gid = overrides.number("gid", _number(header[116:124]))
        if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
            raise InvalidParameter("invalid tar header: a user or group is out of range")
        self._expect_data(size)
        return Entry(
            name=name,
            type=kind,
            size_bytes=size,
            target=target,
            mode=_number(header[100:108]) & 0o7777,
            uid=uid,
            gid=gid,
            mtime_ns=overrides.mtime_ns(_number(header[136:148], signed=True)),
            device=_device(header) if kind in _DEVICES else (0, 0),
            xattrs=overrides.xattrs(),
        )

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
        """The stream may end where the data do, as Go's reader has it.

        The docker CLI leaves out the last padding and the end mark when it adds a Dockerfile that
        comes from its standard input to a context.
        """
        for _ in self.chunks():
            pass
        while self._padding_bytes and (skipped := self._read(self._padding_bytes)):
            self._padding_bytes -= len(skipped)
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


def _number(text: bytes, *, signed: bool = False) -> int:
    """A header's number: octal digits, or base 256 when the first bit is set (GNU)."""
    if text[0] == 0xFF and signed:
        return int.from_bytes(text, "big", signed=True)
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


def _device(header: bytes) -> tuple[int, int]:
    major, minor = _number(header[329:337]), _number(header[337:345])
    if major >= 1 << 12 or minor >= 1 << 20:  # Linux has no larger ones
        raise InvalidParameter("invalid tar header: a device number is out of range")
    return major, minor


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
