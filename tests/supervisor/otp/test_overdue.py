"""overdue.py: who is reported as late, how often, and how many at once."""

from __future__ import annotations

import math

import trio

from supervisor.otp import ChildSpec, Supervisor
from supervisor.otp.child import Child
from supervisor.otp.overdue import REPORTS_AT_ONCE, Overdue


def child(name: str) -> Child:
    """A child that does nothing."""
    return Child(ChildSpec(id=name, start=trio.sleep_forever), Supervisor(name="root"))


def test_reported_a_second_after_the_limit_and_each_second_after() -> None:
    """Not at the limit itself, where most end; then once a second."""
    overdue, late = Overdue(), child("a")
    assert overdue.watch(late, 10.0) == 11.0
    assert overdue.take(10.5) == []
    assert overdue.take(11.0) == [(late, 1.0)]
    assert overdue.next_at() == 12.0
    assert overdue.take(12.0) == [(late, 2.0)]
    overdue.forget(late)
    assert overdue.next_at() == math.inf


def test_asking_again_gives_no_more_time() -> None:
    """The nearest limit counts, and no limit changes nothing."""
    overdue, late = Overdue(), child("a")
    overdue.watch(late, 10.0)
    overdue.watch(late, 20.0)
    overdue.watch(late, math.inf)
    assert overdue.next_at() == 11.0


def test_only_the_longest_overdue_are_reported() -> None:
    """A round is bounded, and the next one is a second later however many are late."""
    overdue = Overdue()
    children = [child(str(i)) for i in range(3 * REPORTS_AT_ONCE)]
    for number, late in enumerate(children):
        overdue.watch(late, number / 100)
    assert [late for late, _ in overdue.take(50.0)] == children[:REPORTS_AT_ONCE]
    assert overdue.next_at() == 51.0
