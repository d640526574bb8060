"""Sizes as options of logs write them."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>[kmgtp]?)(?:i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size_bytes(text: str, *, base: int = 1000) -> int:
    """Bytes of a size such as 10m or 1.5k. Source: docker/go-units, FromHumanSize, RAMInBytes.

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    size = float(match["number"]) * base ** _UNITS[match["unit"].lower()]
    if size >= 1 << 63:
        raise ValueError(f"invalid size: '{text[:100]}'")
    return int(size)
