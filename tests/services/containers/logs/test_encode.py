"""Blocks are encoded as dockerd encodes lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.containers.logs.encode import (
    PIECE_BYTES,
    after_lines,
    encode_run,
    escape,
    line_suffix,
    rfc3339_nano,
    split_runs,
)

SUFFIX = line_suffix("stdout", b"", "2026-01-02T03:04:05.6Z")


def encode(data: bytes, *, last: bool) -> tuple[list[str], int]:
    """The texts of the lines, and how much of `data` they are."""
    runs = list(split_runs(data, last=last))
    lines = b"".join(encode_run(data, run, SUFFIX) for run in runs).splitlines()
    return [json.loads(line)["log"] for line in lines], runs[-1].end if runs else 0


def plain_lines(data: bytes, *, last: bool) -> list[str]:
    """The specification, for text without characters at a cut: a line at a time."""
    lines = []
    while data:
        newline = data.find(b"\n", 0, PIECE_BYTES)
        if newline < 0 and len(data) < PIECE_BYTES and not last:
            break
        end = newline + 1 if newline >= 0 else PIECE_BYTES
        lines.append(data[:end].decode(errors="replace"))
        data = data[end:]
    return lines


chunks = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=20).map(lambda text: text.encode(errors="replace")),
        st.sampled_from([b"\n", b"\r\n", b'"\\<&>\t\x00\x7f', b"\xe2\x80\xa8", b"\xe2\x80"]),
        st.integers(PIECE_BYTES - 2, 2 * PIECE_BYTES + 2).map(lambda size: b"x" * size),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(chunks)
def test_any_cutting_gives_the_same_lines(parts: list[bytes]) -> None:
    """However output is cut into blocks, the lines are the ones of the whole."""
    whole, _ = encode(b"".join(parts), last=True)
    lines: list[str] = []
    rest = b""
    for part in parts:
        texts, used = encode(rest + part, last=False)
        lines += texts
        rest = (rest + part)[used:]
        assert len(rest) < PIECE_BYTES
    lines += encode(rest, last=True)[0]
    assert lines == whole


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.just(b"x" * PIECE_BYTES)), max_size=8))
def test_lines_are_those_of_the_specification(parts: list[bytes]) -> None:
    """Whole lines, pieces of 16 KB, and the unfinished rest."""
    data = b"".join(parts)
    if any(byte >= 0x80 for byte in data) and len(data) >= PIECE_BYTES:
        return
    assert encode(data, last=True)[0] == plain_lines(data, last=True)
    assert encode(data, last=False)[0] == plain_lines(data, last=False)


def test_a_character_is_not_cut_in_two() -> None:
    """A piece ends before a character that does not fit; nothing becomes U+FFFD."""
    for shift in range(4):
        text = "x" * shift + "€" * PIECE_BYTES
        assert "".join(encode(text.encode(), last=True)[0]) == text


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        (b'a\\b"\t\r\x00', rb"a\\b\"\u0009\r\u0000"),
        (b"<&>", rb"\u003c\u0026\u003e"),
        (b"\xff\xe2\x82", "\ufffd\ufffd".encode()),
        ("é\u2028\u2029".encode(), "é".encode() + rb"\u2028\u2029"),
        (b"\x7f", b"\x7f"),
    ],
)
def test_escapes_are_dockerds(raw: bytes, escaped: bytes) -> None:
    """What Debian's dockerd wrote for the same output, U+FFFD excepted: there an escape."""
    assert escape(raw) == escaped


def test_line_is_dockerds() -> None:
    """Order and spelling of a line's members, with attributes."""
    suffix = line_suffix("stderr", b'{"b":"2"}', "2026-11-23T12:58:29.599019133Z")
    (run,) = split_runs(b"hi\n", last=False)
    assert encode_run(b"hi\n", run, suffix) == (
        b'{"log":"hi\\n","stream":"stderr","attrs":{"b":"2"},'
        b'"time":"2026-11-23T12:58:29.599019133Z"}\n'
    )


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_000_000_001, "1970-01-01T00:00:01.000000001Z"),
    ],
)
def test_times_are_gos(time_ns: int, text: str) -> None:
    """No more fraction digits than needed."""
    assert rfc3339_nano(time_ns) == text


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"\n", b"x", b"y" * 300]), max_size=60), st.data())
def test_lines_are_found_by_their_number(parts: list[bytes], draw: st.DataObject) -> None:
    """As by going from one to the next."""
    data = b"".join(parts)
    start = draw.draw(st.integers(0, len(data)))
    count = draw.draw(st.integers(0, 70))
    expected = start
    for line in data[start:].splitlines(keepends=True)[:count]:
        expected += len(line)
    assert after_lines(data, count, start) == expected
