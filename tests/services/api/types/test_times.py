"""Times as Go writes and reads them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.types.instants import duration_ns, instant_ns
from services.api.types.times import NEVER, human_duration, rfc3339_nano, unix_ns
from services.errors import InvalidParameter
from services.images.times import parse_rfc3339_ns

SECOND = 10**9
MINUTE, HOUR, DAY = 60, 3600, 86400
ANY_NS = st.integers(-(2**62), 2**62)


@pytest.mark.parametrize(
    ("span_s", "text"),
    [
        (0, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (2, "2 seconds"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * MINUTE + 59, "59 minutes"),
        (HOUR, "About an hour"),
        (HOUR + 29 * MINUTE, "About an hour"),
        (HOUR + 30 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
        (3650 * DAY, "10 years"),
    ],
)
def test_spans_for_people(span_s: float, text: str) -> None:
    """Docker's words and limits."""
    assert human_duration(span_s) == text


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (0, NEVER),
        (-62_135_596_800 * SECOND, NEVER),
        (SECOND, "1970-01-01T00:00:01Z"),
        (1_700_000_000 * SECOND + 120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000 * SECOND + 1, "2023-11-14T22:13:20.000000001Z"),
        (10 * SECOND, "1970-01-01T00:00:10Z"),
    ],
)
def test_instants(at_ns: int, text: str) -> None:
    """RFC3339Nano leaves zeros at the end of the fraction out, and no others."""
    assert rfc3339_nano(at_ns) == text


@given(st.integers(1, 253402300799 * SECOND))
def test_instants_round_trip(at_ns: int) -> None:
    """Nothing is lost on the way there and back."""
    assert parse_rfc3339_ns(rfc3339_nano(at_ns)) == at_ns


@given(st.integers(0, 10**12 - 1), st.integers(0, SECOND - 1))
def test_unix_times_round_trip(seconds: int, nanoseconds: int) -> None:
    """Seconds with nine decimals, and with the zeros at their end left out."""
    at_ns = seconds * SECOND + nanoseconds
    text = f"{seconds}.{nanoseconds:09}"
    assert unix_ns(text, "since") == at_ns
    assert unix_ns(text.rstrip("0").rstrip(".") or "0", "since") == at_ns


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [("", 0), ("0", 0), ("1.5", 1_500_000_000), ("1.0000000019", SECOND + 1), ("-1", -SECOND)],
)
def test_unix_times(text: str, at_ns: int) -> None:
    """More than nine decimals are cut off; nothing is never."""
    assert unix_ns(text, "since") == at_ns


@pytest.mark.parametrize("text", ["x", "1.x", "1.", ".5", "1e3", " 1", "1\n", "2020-01-01", "٣"])
def test_no_unix_times(text: str) -> None:
    """The parameter and the text are named."""
    with pytest.raises(InvalidParameter, match="since") as refusal:
        unix_ns(text, "since")
    assert text in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "span_ns"),
    [
        ("0", 0),
        ("1h30m", 5400 * SECOND),
        ("1.5s", 1_500_000_000),
        (".5s", SECOND // 2),
        ("-2m", -120 * SECOND),
        ("3us", 3000),
        ("3µs", 3000),
        ("10ms", 10_000_000),
        ("7ns", 7),
        ("", None),
        ("1", None),
        ("1d", None),
        ("h", None),
        ("1h 2m", None),
    ],
)
def test_spans(text: str, span_ns: int | None) -> None:
    """Go's time.ParseDuration."""
    assert duration_ns(text) == span_ns


NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("10m", NOW - 600 * SECOND),
        ("0", 0),
        ("1700000000.25", NOW + SECOND // 4),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20.5+01:00", NOW + SECOND // 2),
        ("2023-11-14T22:13Z", NOW - 20 * SECOND),
        ("2023-11-14T22Z", NOW - 800 * SECOND),
        ("2023-11-14Z", 1_699_920_000 * SECOND),
    ],
)
def test_points_in_time(text: str, at_ns: int) -> None:
    """A span ago, Unix seconds, RFC 3339 whole or cut short."""
    assert instant_ns(text, NOW) == at_ns


@pytest.mark.parametrize("text", ["", " ", "soon", "2023-13-01Z", "2023-11-14T25:00:00Z"])
def test_no_points_in_time(text: str) -> None:
    """Refused."""
    with pytest.raises(InvalidParameter):
        instant_ns(text, NOW)


def test_a_time_without_zone_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for dockerd."""
    monkeypatch.setenv("TZ", "Etc/GMT-2")  # two hours ahead of UTC
    time.tzset()
    try:
        expected = int(datetime(2023, 11, 14, 20, 0, tzinfo=UTC).timestamp()) * SECOND
        assert instant_ns("2023-11-14T22:00:00", NOW) == expected
    finally:
        monkeypatch.undo()
        time.tzset()
