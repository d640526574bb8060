"""Signals as Docker's clients write them."""

from __future__ import annotations

import re
import signal
from typing import Final

from services.errors import InvalidParameter

HIGHEST: Final = 64
_REALTIME: Final = re.compile(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?\Z")


def parse_signal(text: str) -> int:
    """The number of `text`: "9", "KILL", "sigkill", "RTMIN+3".

    Raises:
        InvalidParameter: there is no such signal.
    """
    if text.isascii() and text.isdigit():
        number = int(text)
        if 1 <= number <= HIGHEST:
            return number
        raise InvalidParameter(f"invalid signal: {text}")
    name = text.upper().removeprefix("SIG")
    if realtime := _REALTIME.match(name):
        return _realtime(text, *realtime.groups())
    name = {"POLL": "IO", "IOT": "ABRT", "CLD": "CHLD", "UNUSED": "SYS"}.get(name, name)
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        raise InvalidParameter(f"invalid signal: {text}") from None


def _realtime(text: str, end: str, sign: str | None, offset: str | None) -> int:
    """RTMIN is 34 and RTMAX 64, as the C library shows them to programs."""
    lowest = 34
    number = lowest if end == "MIN" else HIGHEST
    if sign is not None and offset is not None:
        number += int(offset) if sign == "+" else -int(offset)
    if (end == "MIN") == (sign == "-") and sign is not None or not lowest <= number <= HIGHEST:
        raise InvalidParameter(f"invalid signal: {text}")
    return number
