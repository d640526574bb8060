"""services.measures: counts and durations in bounded memory, and the loop's lag."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from services.measures import Counts, Durations, Histogram, LoopLag


def test_a_histogram_counts_by_size() -> None:
    """A value on a bound counts below it; what is larger than all bounds is kept as well."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert (histogram.count, histogram.total) == (5, 8.0)


def test_labels_are_bounded() -> None:
    """Past the limit what is new is counted together, and what is known goes on."""
    durations = Durations(limit=2)
    for label in ("a", "b", "c", "d", "a"):
        durations.observe(label, 1.0)
    assert {label: h.count for label, h in durations.by_label.items()} == {
        "a": 2,
        "b": 1,
        "_other": 2,
    }
    counts = Counts(limit=1)
    for labels in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")):
        counts.add(*labels)
    assert counts.by_labels == {("a", "1"): 2, ("_other", "_other"): 2}
    assert counts.total == 4


def test_a_block_that_raises_is_not_timed() -> None:
    """As dockerd's timers, which tell how long what succeeded took."""
    durations = Durations()
    with durations.timed("start"):
        pass
    with pytest.raises(ZeroDivisionError), durations.timed("start"):
        raise ZeroDivisionError
    assert durations.by_label["start"].count == 1


async def test_the_lag_of_a_loop_that_is_held_up(autojump_clock: MockClock) -> None:
    """A call that blocks the loop is seen by as much as the loop was late."""
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        await nursery.start(lag.run)
        await trio.sleep(0.24)
        autojump_clock.jump(0.1)  # as in a call that blocks
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert lag.histogram.count == 1
    assert lag.latest_s == pytest.approx(0.09)
    assert lag.longest_s() == lag.latest_s


async def test_the_longest_lag_is_forgotten_in_time(autojump_clock: MockClock) -> None:
    """It is that of the last minute."""
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        await nursery.start(lag.run)
        await trio.sleep(1.0)
        lag._recent.append((trio.current_time(), 3.0))
        assert lag.longest_s() == 3.0
        await trio.sleep(61)
        assert lag.longest_s() < 0.001
        nursery.cancel_scope.cancel()
