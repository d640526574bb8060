"""Instants with nine digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.images.times import parse_rfc3339_ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1969-12-31T23:59:59.9Z", -100_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
        ("2024-01-02T03:04:05.123456789Z", 1_704_164_645_123_456_789),
        ("2024-13-02T03:04:05Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_instants(text: str | None, ns: int | None) -> None:
    """To the nanosecond, before the epoch too; what is no instant is none."""
    assert parse_rfc3339_ns(text) == ns


@given(st.datetimes(timezones=st.timezones()), st.integers(0, 999))
def test_agrees_with_datetime(instant, extra: int) -> None:  # type: ignore[no-untyped-def]
    """What datetime can hold is the same here; three digits more are kept."""
    offset = instant.utcoffset()
    if offset.total_seconds() % 60:
        return  # historical offsets with seconds, which RFC 3339 has not
    text = instant.replace(tzinfo=None).isoformat(timespec="microseconds")
    total = int(offset.total_seconds()) // 60
    sign, minutes = ("-", -total) if total < 0 else ("+", total)
    zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    ns = parse_rfc3339_ns(f"{text}{extra:03d}{zone}")
    seconds = int(instant.replace(microsecond=0).timestamp())
    assert ns == seconds * 1_000_000_000 + instant.microsecond * 1000 + extra
