"""kill -9 of the daemon at each step of its start, over what a crash has left: the one after it
finds its way. FAULT_SHARE and FAULT_SHIFT as in `test_fault_points`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.engine.fault_scene import Wreck
from tests.engine.test_fault_points import chosen, restart, wait_over
from tests.support.crashable import FaultableDaemon, faultable_daemon
from tests.support.faults import FaultPoint, points_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

_numbers = itertools.count()


@pytest.fixture
def faultable() -> Iterator[FaultableDaemon]:
    """One set of folders for all daemons of a test, and one containerd."""
    with faultable_daemon() as daemon:
        yield daemon


def test_a_start_survives_a_kill_at_each_step(faultable: FaultableDaemon) -> None:
    """What the first start had done and what it had not come to is all the same in the end."""
    daemon = faultable
    points = enumerate_points(daemon)
    for point in chosen(points):
        mark = len(daemon.log_text())
        try:
            start_twice(daemon, point)
        except Exception as error:
            error.add_note(f"FAULT POINT: start: {point}")
            error.add_note(daemon.log_text(since=mark)[-5000:])
            raise
        assert "Traceback" not in daemon.log_text(since=mark), (point, daemon.log_text(since=mark))
    print(f"{len(points)} points")


def enumerate_points(daemon: FaultableDaemon) -> list[FaultPoint]:
    """Start undisturbed, and see what is done."""
    wreck = Wreck(daemon, "all")
    wreck.make()
    restart(daemon)
    assert wait_over(daemon)
    labels, _ = daemon.steps()
    wreck.check()
    return points_of(labels)


def start_twice(daemon: FaultableDaemon, point: FaultPoint) -> None:
    """Once to die, once to live."""
    wreck = Wreck(daemon, f"n{next(_numbers)}")
    wreck.make()
    daemon.point_at_start = point
    with suppress(AssertionError):  # it may die before it answers
        daemon.start()
    if daemon.is_running and wait_over(daemon):
        daemon.kill()  # its steps were fewer this time
    daemon.point_at_start = None
    restart(daemon)
    wreck.check()
