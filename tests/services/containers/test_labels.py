"""The labels that the engine obeys: what they may say, and what it makes of them."""

from __future__ import annotations

import pytest

from services.containers.labels import (
    CAP,
    FACTOR,
    FIRST,
    JITTER,
    UNHEALTHY,
    backoff_of,
    check_labels,
    ends_unhealthy,
)
from services.containers.runs.restart_policy import Backoff
from services.errors import InvalidParameter


def test_without_labels_it_is_dockerds() -> None:
    """Labels of others are nothing to us."""
    labels = {"com.example": "x", "io.wharfingerly": "y"}
    check_labels(labels)
    assert backoff_of(labels) == Backoff(first_s=0.1, factor=2.0, cap_s=60.0, jitter=0.0)
    assert not ends_unhealthy(labels)


def test_each_label_sets_its_figure() -> None:
    """Spans are Go's."""
    labels = {FIRST: "1.5s", FACTOR: "3", CAP: "1h2m3s", JITTER: "0.25", UNHEALTHY: "restart"}
    check_labels(labels)
    assert backoff_of(labels) == Backoff(first_s=1.5, factor=3.0, cap_s=3723.0, jitter=0.25)
    assert ends_unhealthy(labels)
    assert not ends_unhealthy({UNHEALTHY: "ignore"})


def test_a_long_first_delay_is_the_cap() -> None:
    """Unless there is one, which must not be shorter."""
    assert backoff_of({FIRST: "5m"}).cap_s == 300.0
    with pytest.raises(InvalidParameter, match=f"invalid label {CAP}"):
        check_labels({FIRST: "5m", CAP: "1m"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((FIRST, value) for value in ("", "0", "0s", "5", "-1s", "1s ", "1 s", "1d", "25h", "ms")),
        (CAP, "1s2"),
        *((FACTOR, value) for value in ("", "0.5", "-2", "nan", "inf", "1e3", "1001", "٢")),
        *((JITTER, value) for value in ("", "-0.1", "1.1", "20%")),
        *((UNHEALTHY, value) for value in ("", "true", "RESTART")),
        ("io.wharfinger.restart.frist", "1s"),
    ],
)
def test_impossible_values_are_refused(name: str, value: str) -> None:
    """The text names the label."""
    with pytest.raises(InvalidParameter, match=name):
        check_labels({name: value})
