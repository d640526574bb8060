"""Truth values as options of logs write them."""

from __future__ import annotations

from typing import Final

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_flag(text: str) -> bool:
    """Source: Go, strconv.ParseBool.

    Raises:
        ValueError: it is none, in Go's words.
    """
    if text not in _TRUE | _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE
