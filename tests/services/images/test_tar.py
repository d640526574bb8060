"""The bounded tar reader against Python's own tarfile, and against archives made to hurt."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.images.tar import MAX_EXTENDED_HEADER_BYTES, EntryType, TarReader

NAMES = st.text(
    alphabet=st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1
).filter(lambda text: len(text.encode()) < 300)


def read(data: bytes, *, step: int = 1 << 20) -> list[tuple[str, EntryType, bytes, str]]:
    stream = io.BytesIO(data)
    tar = TarReader(lambda size: stream.read(min(size, step)))
    return [(e.name, e.type, b"".join(tar.chunks()), e.target) for e in tar]


def header(
    *, kind: bytes = b"0", size: bytes = b"00000000000", name: bytes = b"x", checksum: int = 0
) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:263] = b"ustar\0"
    total = sum(block) + 8 * 0x20
    block[148:156] = b"%06o\0 " % (total + checksum)
    return bytes(block)


@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=5),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    step=st.integers(1, 2000),
)
def test_reads_what_tarfile_writes(
    members: list[tuple[str, bytes]], format: int, step: int
) -> None:
    """Names of any length and bytes of any number come out as they went in, however they arrive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    expected = [(name, EntryType.FILE, content, "") for name, content in members]
    assert read(out.getvalue(), step=step) == expected


@given(st.binary(max_size=2048), st.integers(0, 1500), st.binary(min_size=1, max_size=30))
def test_any_bytes_are_read_or_refused(noise: bytes, position: int, patch: bytes) -> None:
    """Neither noise nor a damaged archive makes the reader fail in a way of its own, or hang."""
    good = header(size=b"00000000100") + bytes(512) + header(kind=b"L", size=b"00000000003") + b"a"
    for data in (noise, good[:position] + patch + good[position + len(patch) :]):
        with suppress(InvalidParameter):
            read(data)


def test_ustar_prefix_and_links() -> None:
    """The second half of a POSIX name, and where links point."""
    out = io.BytesIO()
    long = "d" * 90 + "/" + "f" * 90
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(long))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("l")
            info.type, info.linkname = kind, "there" if kind in (b"1", b"2") else ""
            tar.addfile(info)
    kinds = [(name, kind, target) for name, kind, _, target in read(out.getvalue())]
    assert kinds == [
        (long, EntryType.FILE, ""),
        ("l", EntryType.SYMLINK, "there"),
        ("l", EntryType.HARD_LINK, "there"),
        ("l/", EntryType.DIRECTORY, ""),
        ("l", EntryType.FIFO, ""),
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(checksum=1), "invalid tar header"),
        (header(size=b"00000001000"), "unexpected EOF"),
        (header()[:300], "unexpected EOF"),
        (header(kind=b"L", size=b"77777777777"), "extended header is longer"),
        (header(kind=b"x", size=b"77777777777"), "extended header is longer"),
        (header(kind=b"S"), "sparse"),
        (header(size=b"\xff" * 12), "out of range"),
        (header(size=b"\x80" + b"\xff" * 11), "out of range"),
        (header(size=b"00000x00000"), "invalid tar header"),
        (header(kind=b"L", size=b"00000000001") + b"a" + bytes(511), "ends after"),
        (header(kind=b"x", size=b"00000000010") + b"9999 a=b" + bytes(504) + header(), "malformed"),
        (header(kind=b"x", size=b"00000000010") + b"8 size=" + bytes(505) + header(), "malformed"),
    ],
)
def test_hostile_headers_are_refused(data: bytes, words: str) -> None:
    """Sizes without end, negative ones, sparse maps, broken sums: a clear refusal at once."""
    with pytest.raises(InvalidParameter, match=words):
        read(data)


@pytest.mark.parametrize("left_bytes", [0, 1, 300])
def test_the_last_padding_may_be_missing(left_bytes: int) -> None:
    """With the end mark, as the docker CLI writes it for `build -f -`; data may not."""
    data = header(size=b"00000000005") + b"hello" + bytes(left_bytes)
    assert read(data) == [("x", EntryType.FILE, b"hello", "")]
    with pytest.raises(InvalidParameter, match="unexpected EOF"):
        read(data[: 512 + 4])


def test_pax_size_counts() -> None:
    """A pax header's size takes the place of the header's; a bad one is refused."""
    record = b"10 size=3\n"
    prefix = header(kind=b"x", size=b"00000000012") + record + bytes(502)
    assert read(prefix + header() + b"abc" + bytes(509))[0][2] == b"abc"
    record = b"11 size=-3\n"
    prefix = header(kind=b"x", size=b"00000000013") + record + bytes(501)
    with pytest.raises(InvalidParameter, match="bad size"):
        read(prefix + header())


def test_long_headers_have_a_bound() -> None:
    """A long name up to the bound is read before it is judged; its judgement is a refusal too."""
    size = b"%011o" % MAX_EXTENDED_HEADER_BYTES
    data = header(kind=b"L", size=size) + b"n" * MAX_EXTENDED_HEADER_BYTES + header()
    with pytest.raises(InvalidParameter, match="name is longer"):
        read(data)
