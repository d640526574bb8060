"""What an archive is compressed with, by its first bytes, and its plain bytes in bounded memory.

For worker threads: decompressing is work for a processor. The amount that may come out is bounded,
absolutely and in proportion to what went in, so that a small upload cannot fill a disk.
"""

from __future__ import annotations

import bz2
import enum
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Final, Protocol, cast

import zstandard

from services.errors import InvalidParameter

from .expansion import ExpansionLimits as ExpansionLimits

MAGIC_BYTES: Final = 6
_PIECE_BYTES: Final = 1 << 18
_DECODER_MEMORY_BYTES: Final = 192 << 20
"""The largest dictionary that xz -9 and zstd --long=27 make."""


class Compression(enum.Enum):
    """The compressions that dockerd reads; the value is what an OCI media type adds for it."""

    NONE = ""
    GZIP = "+gzip"
    ZSTD = "+zstd"
    BZIP2 = "+bzip2"
    XZ = "+xz"


_MAGIC: Final = (
    (b"\x1f\x8b\x08", Compression.GZIP),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\x00", Compression.XZ),
)


class Readable(Protocol):
    """A blocking source: up to `size` bytes, b"" at its end."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102 the class says it


def detect(head: bytes) -> Compression:
    """Judge from the first MAGIC_BYTES bytes; whatever is not known counts as plain."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), Compression.NONE)


class PlainStream:
    """The plain bytes of `read`'s stream, whatever it is compressed with.

    Raises (from read):
        InvalidParameter: the stream is damaged, ends early, or passes the limits.
    """

    def __init__(self, read: Callable[[int], bytes], limits: ExpansionLimits) -> None:
        self._source = _Counted(read)
        self._limits = limits
        self.compression = detect(self._source.peek(MAGIC_BYTES))
        self._plain = _open(self._source, self.compression)
        self._given_bytes = 0

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end. Blocks."""
        try:
            data = self._plain.read(size)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            raise InvalidParameter(f"failed to decompress the archive: {error}") from error
        self._given_bytes += len(data)
        self._check_expansion()
        return data

    def _check_expansion(self) -> None:
        limits, given, taken = self._limits, self._given_bytes, self._source.taken_bytes
        is_plain = self.compression is Compression.NONE
        if not (given <= limits.total_bytes if is_plain else limits.allow(given, taken)):
            raise InvalidParameter(
                f"the archive expands to more than the engine accepts: {given} bytes out of {taken}"
            )


class _Counted(io.RawIOBase):
    """A source whose beginning can be looked at and whose bytes are counted."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._next = read
        self._ahead = b""
        self.taken_bytes = 0

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size and (more := self._next(size - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = _PIECE_BYTES if size < 0 else size
        if self._ahead:
            data, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
        else:
            data = self._next(wanted)
        self.taken_bytes += len(data)
        return data


class _Stepwise:
    """bz2's and lzma's decompressors as a source, stream after stream, output bounded by `size`."""

    def __init__(
        self, source: Readable, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._source, self._new = source, new
        self._decoder = new()
        self._between = False

    def read(self, size: int = -1, /) -> bytes:
        while True:
            if self._decoder.eof:
                left = self._decoder.unused_data
                self._decoder, self._between = self._new(), True
                data = left or self._source.read(_PIECE_BYTES)
            else:
                data = self._source.read(_PIECE_BYTES) if self._decoder.needs_input else b""
            if not data and self._decoder.needs_input:
                if self._between:
                    return b""
                raise EOFError("compressed data ended before the end mark")
            self._between = False
            if plain := self._decoder.decompress(data, size):
                return plain


def _open(source: _Counted, kind: Compression) -> Readable:
    match kind:
        case Compression.GZIP:
            return gzip.GzipFile(fileobj=source, mode="rb")
        case Compression.ZSTD:
            decoder = zstandard.ZstdDecompressor(max_window_size=_DECODER_MEMORY_BYTES)
            file = cast("IO[bytes]", source)  # it only reads
            return decoder.stream_reader(file, read_size=_PIECE_BYTES, read_across_frames=True)
        case Compression.BZIP2:
            return _Stepwise(source, bz2.BZ2Decompressor)
        case Compression.XZ:
            return _Stepwise(source, lambda: lzma.LZMADecompressor(memlimit=_DECODER_MEMORY_BYTES))
        case Compression.NONE:
            return source
