"""Whether a program runs wherever it is put, or needs libraries beside it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_MAGIC: Final = b"\x7fELF"
_PT_INTERP: Final = 3
# By the class in the fifth byte: where the program headers' offset stands, and their size.
_LAYOUT: Final = {1: (28, "I", 42), 2: (32, "Q", 54)}
_HEAD_BYTES: Final = 4096  # linkers put the program headers right behind the header


def needs_interpreter(path: str | Path) -> bool:
    """True for an ELF program that the dynamic linker loads; a script has none of its own either.

    Blocks. Raises OSError and, for what is no whole ELF header, ValueError.

    Source: elf(5).
    """
    with Path(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.startswith(_MAGIC) or len(head) < 64 or head[4] not in _LAYOUT:
        raise ValueError(f"{path} is no ELF program")
    order = "<" if head[5] == 1 else ">"
    at, word, sizes_at = _LAYOUT[head[4]]
    (offset,) = struct.unpack_from(order + word, head, at)
    size, number = struct.unpack_from(order + "HH", head, sizes_at)
    try:
        kinds = [struct.unpack_from(order + "I", head, offset + i * size)[0] for i in range(number)]
    except (struct.error, OverflowError):
        raise ValueError(f"{path}: its program headers are not where they should be") from None
    return _PT_INTERP in kinds
