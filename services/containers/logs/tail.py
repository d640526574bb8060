"""Finds where the last lines of a log begin, reading backwards."""

from __future__ import annotations

from typing import BinaryIO, Final

_STEP_BYTES: Final = 64 * 1024


def find_tail(file: BinaryIO, size: int, lines: int) -> tuple[int, int]:
    """Offset where the last `lines` lines within the first `size` bytes begin, and how many lack.

    Reads about as much as those lines take. Bytes after the last newline are no line.
    """
    if lines == 0:
        return size, 0
    found = -1  # the newline that ends the last line does not begin one
    end = size
    while end > 0:
        start = max(0, end - _STEP_BYTES)
        file.seek(start)
        block = _read_exactly(file, end - start)
        here = block.count(b"\n")
        if found + here >= lines:
            position = len(block)
            for _ in range(lines - found):
                position = block.rindex(b"\n", 0, position)
            return start + position + 1, 0
        found += here
        end = start
    return 0, lines - (found + 1)


def skip_to_tail(file: BinaryIO, lines: int) -> tuple[int, int]:
    """`find_tail` for a compressed file, which only reads forwards: twice over all of it."""
    total = 0
    while block := file.read(_STEP_BYTES):
        total += block.count(b"\n")
    if total < lines:
        return 0, lines - total
    file.seek(0)
    offset, left = 0, total - lines
    while left:
        line = file.readline()
        offset += len(line)
        left -= 1
    return offset, 0


def _read_exactly(file: BinaryIO, count: int) -> bytes:
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
