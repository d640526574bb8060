"""Archives' compression: found by the first bytes, undone within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.images.compression import Compression, ExpansionLimits, PlainStream

COMPRESSORS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstandard.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}


def plain(data: bytes, *, step: int = 1 << 20, limits: ExpansionLimits | None = None) -> bytes:
    source = io.BytesIO(data)
    stream = PlainStream(lambda size: source.read(min(size, step)), limits or ExpansionLimits())
    return b"".join(iter(lambda: stream.read(4096), b""))


@given(
    data=st.binary(max_size=5000).map(lambda data: b"#" + data),
    kind=st.sampled_from(list(Compression)),
    step=st.integers(1, 3000),
)
def test_what_was_compressed_comes_back(data: bytes, kind: Compression, step: int) -> None:
    """Each compression is undone, however its bytes arrive."""
    assert plain(COMPRESSORS[kind](data), step=step) == data


@pytest.mark.parametrize("kind", [k for k in Compression if k is not Compression.NONE])
def test_several_streams_in_one(kind: Compression) -> None:
    """Concatenated streams are one, as their command line tools have it."""
    compress = COMPRESSORS[kind]
    assert plain(compress(b"first ") + compress(b"second")) == b"first second"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ])
def test_truncated_streams_are_refused(kind: Compression) -> None:
    """A stream that ends too early is an error, not a short archive."""
    with pytest.raises(InvalidParameter, match="failed to decompress"):
        plain(COMPRESSORS[kind](b"a" * 1000)[:-5])


@pytest.mark.parametrize("kind", [k for k in Compression if k is not Compression.NONE])
def test_damaged_streams_are_refused(kind: Compression) -> None:
    """Garbage behind the right first bytes is an error of the client's."""
    with pytest.raises(InvalidParameter, match="failed to decompress"):
        plain(COMPRESSORS[kind](b"a" * 1000)[:10] + b"\xfe" * 200)


@pytest.mark.parametrize("kind", [k for k in Compression if k is not Compression.NONE])
def test_bombs_are_refused(kind: Compression) -> None:
    """What expands past the stated bound is refused; the same amount of honest data is not."""
    limits = ExpansionLimits(free_bytes=100_000, ratio=10, total_bytes=10_000_000)
    with pytest.raises(InvalidParameter, match="expands to more"):
        plain(COMPRESSORS[kind](bytes(2_000_000)), limits=limits)
    assert len(plain(COMPRESSORS[kind](bytes(90_000)), limits=limits)) == 90_000
    with pytest.raises(InvalidParameter, match="expands to more"):
        plain(bytes(11_000_000), limits=limits)
