"""When the loop stands aside for threads, and when it need not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.store import _fairness
from services.store._fairness import BUSY_S, ThreadFairness


class Clock:
    """time, as far as the instrument looks at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(monotonic=lambda: made.now, sleep=made.slept.append)
    monkeypatch.setattr(_fairness, "time", fake)
    return made


def test_a_loop_that_spins_pauses_once_a_millisecond(clock: Clock) -> None:
    """Polls that do not wait count as busy, whatever lies between them."""
    fairness = ThreadFairness()
    for _ in range(10):
        clock.now += BUSY_S / 2
        fairness.before_io_wait(0)
        fairness.after_io_wait(0)
    assert len(clock.slept) in (3, 5)


def test_a_loop_that_waited_does_not_pause(clock: Clock) -> None:
    """However long the wait was: it is over when the poll returns, not when it began."""
    fairness = ThreadFairness()
    for _ in range(10):
        fairness.before_io_wait(1.0)
        clock.now += 0.5
        fairness.after_io_wait(1.0)
        clock.now += BUSY_S / 10
        fairness.before_io_wait(0)
        fairness.after_io_wait(0)
    assert clock.slept == []
