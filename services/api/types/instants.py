"""Points in time as people write them in filters: a span ago, an RFC 3339 time, Unix seconds.

Source: Go, time.ParseDuration; dockerd's timestamp package, whose incomplete forms these are.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from services.api.types.times import unix_ns
from services.api.wire import gojson
from services.errors import InvalidParameter
from services.images.times import parse_rfc3339_ns

_UNIT_NS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_TERM: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)((?:{_TERM.pattern})+)", re.ASCII)
_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt](?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?)?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)


def duration_ns(text: str) -> int | None:
    """Nanoseconds of a span in Go's grammar ("1h30m", "1.5s", "0"); None if it is none."""
    if text in ("0", "+0", "-0"):
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    total = sum(int(Fraction(number) * _UNIT_NS[unit]) for number, unit in _TERM.findall(text))
    return -total if match[1] == "-" else total


def instant_ns(text: str, now_ns: int) -> int:
    """The point in time that `text` means. A time without a zone is the machine's own.

    Raises:
        InvalidParameter: it means none.
    """
    span_ns = None if text == "0" else duration_ns(text)
    if span_ns is not None:
        return now_ns - span_ns
    match = _TIME.fullmatch(text)
    if match is None:
        if not text.strip():
            raise InvalidParameter("failed to parse value as time or duration: value is empty")
        try:
            return unix_ns(text, "until")
        except InvalidParameter:
            quoted = gojson.quote(text)
            raise InvalidParameter(f"failed to parse value as time or duration: {quoted}") from None
    hour, minute, second = match["hour"] or "00", match["minute"] or "00", match["second"] or "00"
    found = f"{match['date']}T{hour}:{minute}:{second}"
    found_ns = parse_rfc3339_ns(f"{found}{match['zone'] or 'Z'}")
    if found_ns is None:
        raise InvalidParameter(f"parsing time {gojson.quote(text)}: out of range")
    return found_ns if match["zone"] else found_ns - _local_offset_ns(found_ns)


def _local_offset_ns(naive_ns: int) -> int:
    """How far the machine's time is ahead of UTC around then."""
    naive = datetime.fromtimestamp(naive_ns // 10**9, tz=UTC).replace(tzinfo=None)
    offset = naive.astimezone().utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) * 10**9
