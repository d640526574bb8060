"""RFC 3339 instants as nanoseconds: Go writes nine digits, which datetime cannot hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_RFC3339: Final = re.compile(
    r"(?P<to_second>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339_ns(text: str | None) -> int | None:
    """Nanoseconds since the epoch; None for what is absent or no instant."""
    match = None if text is None else _RFC3339.fullmatch(text)
    if match is None:
        return None
    zone = match["zone"].upper().replace("Z", "+00:00")
    try:
        instant = datetime.fromisoformat(match["to_second"].upper().replace(" ", "T") + zone)
    except ValueError:
        return None
    fraction = (match["fraction"] or "")[:9].ljust(9, "0")
    return (instant - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(fraction)


def rfc3339_ns(at_ns: int) -> str:
    """Nanoseconds since the epoch as an image's documents have them, in UTC."""
    seconds, fraction = divmod(at_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{fraction:09d}Z"
