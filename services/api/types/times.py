"""Instants and spans as Go writes them, which is what Docker's clients read."""

from __future__ import annotations

import re
import time
from typing import Final

from services.errors import InvalidParameter

NEVER: Final = "0001-01-01T00:00:00Z"
"""Go's zero time."""

_UNIX: Final = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9})\d*)?\Z", re.ASCII)


def rfc3339_nano(at_ns: int) -> str:
    """Go's RFC3339Nano in UTC: trailing zeros of the fraction are left out. 0 is never."""
    if at_ns == 0:
        return NEVER
    seconds, fraction = divmod(at_ns, 10**9)
    moment = time.gmtime(seconds)
    # libc's %Y does not pad: images that say nothing of their age are of the year 1.
    text = f"{moment.tm_year:04}-" + time.strftime("%m-%dT%H:%M:%S", moment)
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def unix_ns(text: str, name: str) -> int:
    """Nanoseconds of a `since` or `until` parameter in seconds, with up to nine decimals; "" is 0.

    Raises:
        InvalidParameter: it is none.
    """
    if not text:
        return 0
    found = _UNIX.match(text)
    if found is None:
        raise InvalidParameter(f'invalid value for "{name}": "{text}" is not a Unix time stamp')
    seconds, fraction = found.groups()
    nanoseconds = int((fraction or "").ljust(9, "0"))
    return int(seconds) * 10**9 + (-nanoseconds if seconds.startswith("-") else nanoseconds)


def human_duration(span_s: float) -> str:
    """A span as Docker shows it to people: "About a minute", "3 hours"."""
    seconds = int(span_s)
    minutes, hours = seconds // 60, int(span_s / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    return _human_hours(hours)


def _human_hours(hours: int) -> str:
    for limit, unit, name in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{hours // 24 // 365} years"
