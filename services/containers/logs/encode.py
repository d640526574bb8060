"""Output as json-file lines, as dockerd writes them, a whole block at a time.

A line is `{"log":"text\\n","stream":"stdout","time":"..."}`. Text that has no newline within
PIECE_BYTES is cut into pieces of that size, which lack the `\\n`; dockerd cuts at the same places,
except that we never cut a character in two. All lines of a block carry the same time.

Source: moby, daemon/logger/copier.go and daemon/logger/jsonfilelog/jsonlog.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

PIECE_BYTES: Final = 16 * 1024
_FEW_BYTES: Final = 256
_HEAD: Final = b'{"log":"'
_PLAIN: Final = bytes(code for code in range(0x20, 0x80) if code not in b'"\\<>&') + b"\n"
_ASCII_ESCAPES: Final = {
    code: rb"\u%04x" % code for code in (*range(0x20), *b"<>&") if code not in b"\n\r"
} | {ord("\r"): rb"\r", ord('"'): rb"\""}
_SEPARATORS: Final = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a block: either whole lines with their newlines, or one piece without."""

    start: int
    end: int
    partial: bool


def split_runs(data: bytes, *, last: bool) -> Iterator[Run]:
    """The stretches that can be logged now, in order; `last`: the unfinished line too."""
    start = position = 0
    while position < len(data):
        newline = data.rfind(b"\n", position, position + PIECE_BYTES)
        if newline >= 0:
            position = newline + 1
            continue
        if len(data) - position < PIECE_BYTES and not last:
            break
        if start < position:
            yield Run(start, position, False)
        end = _piece_end(data, position)
        yield Run(position, end, True)
        start = position = end
    if start < position:
        yield Run(start, position, False)


def after_lines(data: bytes, count: int, start: int = 0) -> int:
    """Where so many lines from `start` on end: behind the last one's newline, or with `data`.

    Halves what is left by counting: a step for each of 100,000 lines takes as long as all else.
    """
    low, high = start, len(data)
    if data.count(b"\n", low, high) < count:
        return high
    while count and high - low > _FEW_BYTES:
        middle = (low + high) // 2
        before = data.count(b"\n", low, middle)
        if before < count:
            low, count = middle, count - before
        else:
            high = middle
    for _ in range(count):
        low = data.index(b"\n", low) + 1
    return low


def encode_run(data: bytes, run: Run, suffix: bytes) -> bytes:
    """The file's lines for a run; `suffix` is what `line_suffix` made."""
    whole = run.start == 0 and run.end == len(data)
    text = escape(data if whole else data[run.start : run.end])
    if run.partial:
        return b'{"log":"%b"%b\n' % (text, suffix)
    between = b'\\n"%b\n{"log":"' % suffix
    # What follows the last newline is cut off again: copying less often is what makes it fast.
    return b"".join((_HEAD, memoryview(text.replace(b"\n", between))[: -len(_HEAD)]))


def line_suffix(label: str, attributes: bytes, time_text: str) -> bytes:
    """What follows the text: stream, the JSON object `attributes` if not empty, and time."""
    attrs = b',"attrs":%b' % attributes if attributes else b""
    return b',"stream":"%b"%b,"time":"%b"}' % (label.encode(), attrs, time_text.encode())


def escape(data: bytes) -> bytes:
    """`data` for use in a JSON string, newlines left alone; what is no UTF-8 becomes U+FFFD.

    A character that breaks off becomes one U+FFFD; dockerd makes one of each of its bytes, which
    costs many times as much here.
    """
    special = data.translate(None, _PLAIN)
    if not special:
        return data
    present = set(special)
    if ord("\\") in present:  # first: the other escapes bring backslashes of their own
        data = data.replace(b"\\", rb"\\")
    for code in present & _ASCII_ESCAPES.keys():
        data = data.replace(bytes((code,)), _ASCII_ESCAPES[code])
    if not special.isascii():
        data = data.decode(errors="replace").encode()
        for raw, escaped in _SEPARATORS:
            data = data.replace(raw, escaped)
    return data


def rfc3339_nano(time_ns: int) -> str:
    """UTC with as many fraction digits as needed, as Go's RFC3339Nano."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{nanoseconds:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def _piece_end(data: bytes, start: int) -> int:
    """Where a piece that begins at `start` ends: before a character that would be cut in two."""
    end = start + PIECE_BYTES
    if end > len(data):
        return len(data)
    for back in range(1, 4):
        lead = data[end - back]
        if lead >= 0xC0:
            width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return end - back if width > back else end
        if lead < 0x80:
            break
    return end
