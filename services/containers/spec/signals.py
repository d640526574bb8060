"""Signal names and numbers as Docker's clients write them: "TERM", "SIGTERM", "15", "RTMIN+3"."""

from __future__ import annotations

import re
import signal
from typing import Final

from services.errors import InvalidParameter

_RTMIN: Final = 34  # glibc's and Go's; the kernel's two below are taken by the thread library
_RTMAX: Final = 64
_LONGEST: Final = 16  # characters of a name or a number; Python refuses to read endless ones
_REALTIME: Final = re.compile(r"RTM(?:IN(?:\+([0-9]+))?|AX(?:-([0-9]+))?)")


def parse_signal(text: str) -> int:
    """The number of a signal, any case, with or without SIG.

    Raises:
        InvalidParameter: no such signal; 0 is none either.
    """
    if text.isascii() and text.isdecimal():
        number = int(text) if len(text) <= _LONGEST else 0
        if 1 <= number <= _RTMAX:
            return number
        raise InvalidParameter(f"invalid signal: {text}")
    name = text.upper().removeprefix("SIG")
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        pass
    if len(name) <= _LONGEST and (found := _REALTIME.fullmatch(name)):
        up, down = found.groups()
        number = _RTMIN + int(up or 0) if name.startswith("RTMIN") else _RTMAX - int(down or 0)
        if _RTMIN <= number <= _RTMAX:
            return number
    raise InvalidParameter(f"invalid signal: {text}")
