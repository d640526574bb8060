"""kill -9 of the daemon at each step of each operation; the steps are found by running it once.

After each death the next daemon must show the truth, have nothing left over, and carry the same
call out. All points take half an hour: a run of the suite takes every FAULT_SHARE-th of each
operation's, always the same; FAULT_SHARE=1 takes all, FAULT_SHIFT another share, and FAULT_ONLY
the one point that a failure has named.
"""

from __future__ import annotations

import http.client
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from tests.engine.fault_checks import actions, inspect_all, misordered, untrue, wait_true
from tests.engine.fault_operations import OPERATIONS, Operation, Scene
from tests.support.crashable import FaultableDaemon, faultable_daemon
from tests.support.daemon import wait_until
from tests.support.faults import FaultPoint, points_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SHARE = int(os.environ.get("FAULT_SHARE", "12"))
SHIFT = int(os.environ.get("FAULT_SHIFT", "0"))
ONLY = os.environ.get("FAULT_ONLY", "")
QUIET_S = 0.3
LIMIT_S = 180.0

_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared_faultable() -> Iterator[FaultableDaemon]:
    """One set of folders for all daemons of this module, and one containerd."""
    with faultable_daemon() as daemon:
        yield daemon


@pytest.fixture
def faultable(shared_faultable: FaultableDaemon) -> FaultableDaemon:
    """The daemon, without what a failed test has left."""
    if not shared_faultable.is_running:
        restart(shared_faultable)
    shared_faultable.remove_containers()
    shared_faultable.remove_networks()
    wait_true(shared_faultable, "there is nothing")
    return shared_faultable


def wait_over(daemon: FaultableDaemon) -> bool:
    """Wait until all is done that was to be done; False if the daemon has died of it."""

    def is_over() -> bool:
        if not daemon.is_running:
            return True
        with suppress(OSError, AssertionError, http.client.HTTPException):  # as it dies
            return daemon.steps()[1] > QUIET_S and not untrue(daemon, inspect_all(daemon))
        return False

    wait_until(is_over, "all is done", limit_s=LIMIT_S)
    return daemon.is_running


def enumerate_points(daemon: FaultableDaemon, operation: Operation) -> list[FaultPoint]:
    """Run the operation undisturbed, and see what it does."""
    scene = operation.scene(daemon, f"{operation.name}-all")
    operation.prepare(scene)
    wait_true(daemon, f"{operation.name} is prepared")
    daemon.arm(None)
    operation.act(scene)
    assert wait_over(daemon)
    labels, _ = daemon.steps()
    daemon.remove_containers()
    daemon.remove_networks()
    wait_true(daemon, f"{operation.name} is cleared away")
    return points_of(labels)


def chosen(points: Sequence[FaultPoint]) -> list[FaultPoint]:
    """This run's share; they are taken apart by the shift, so that each comes up in its time."""
    if ONLY:
        return [point for point in points if str(point) == ONLY]
    return [point for number, point in enumerate(points) if (number + SHIFT) % SHARE == 0]


def die_and_return(daemon: FaultableDaemon, operation: Operation, point: FaultPoint) -> bool:
    """One fault from the scene to the second try; whether the point was reached."""
    scene = operation.scene(daemon, f"{operation.name}-{next(_numbers)}")
    operation.prepare(scene)
    wait_true(daemon, "the scene is set")
    daemon.arm(point)
    with suppress(OSError, http.client.HTTPException):
        operation.act(scene)
    died = not wait_over(daemon)
    if died:
        assert daemon.process is not None
        daemon.process.wait()
        restart(daemon)
    else:
        daemon.arm(None)
    wait_true(daemon, "the next daemon knows the truth")
    check_story(scene, operation)
    operation.again(scene)
    wait_true(daemon, "after the second try")
    check_story(scene, operation)
    daemon.remove_containers()
    daemon.remove_networks()
    wait_true(daemon, "nothing is left")
    check_story(scene, operation)
    return died


def restart(daemon: FaultableDaemon) -> None:
    """The next daemon, once it has compared all with containerd."""
    mark = len(daemon.log_text())
    daemon.start()
    wait_until(lambda: "containers restored" in daemon.log_text(since=mark), "it is restored")


def check_story(scene: Scene, operation: Operation) -> None:
    """Its events make a life, told once; its exit code is the true one."""
    state = scene.state()
    status = str(state.get("Status", ""))
    told = actions(scene.daemon, scene.name, scene.since)
    assert (wrong := misordered(told, status)) is None, wrong
    if status == "exited" and operation.code is not None:
        assert state["ExitCode"] == operation.code, state


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_survives_a_kill_at_each_step(faultable: FaultableDaemon, name: str) -> None:
    """The next start understands what it finds, and a second try succeeds."""
    daemon, operation = faultable, OPERATIONS[name]
    points = enumerate_points(daemon, operation)
    assert points
    missed = []
    for point in chosen(points):
        mark = len(daemon.log_text())
        try:
            if not die_and_return(daemon, operation, point):
                missed.append(str(point))
        except Exception as error:
            error.add_note(f"FAULT POINT: {name}: {point}")
            error.add_note(daemon.log_text(since=mark)[-5000:])
            raise
        assert "Traceback" not in daemon.log_text(since=mark), (point, daemon.log_text(since=mark))
    print(f"{len(points)} points, not reached: {missed}")
