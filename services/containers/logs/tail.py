"""Finds where the last lines of a file begin, reading backwards."""

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
        block = read_at(file, start, end - start)
        here = block.count(b"\n")
        if found + here >= lines:
            position = len(block)
            for _ in range(lines - found):
                position = block.rindex(b"\n", 0, position)
            return start + position + 1, 0
        found += here
        end = start
    return 0, lines - (found + 1)


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """`count` bytes from `offset`; fewer at the end of the file."""
    file.seek(offset)
    parts = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
