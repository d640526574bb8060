"""kill -9 of the daemon at each step of each operation on images.

Nothing half-made is seen by the next daemon, the next try succeeds, and once all is pruned the disk
holds what it held. As `test_fault_points`, whose share of the points each run takes.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.image_operations import (
    OPERATIONS,
    ImageOperation,
    Scene,
    prune,
    stores,
    whole,
)
from tests.support.crashable import FaultableDaemon, faultable_daemon
from tests.support.daemon import wait_until
from tests.support.faults import FaultPoint, points_of
from tests.support.registry import TestRegistry, running_registry

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SHARE = int(os.environ.get("FAULT_SHARE", "24"))
SHIFT = int(os.environ.get("FAULT_SHIFT", "0"))
ONLY = os.environ.get("FAULT_ONLY", "")
QUIET_S = 0.2
LIMIT_S = 180.0


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRegistry]:
    """A registry for what is pulled and pushed."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def shared_faultable() -> Iterator[FaultableDaemon]:
    """One set of folders for all daemons of this module; a container keeps their busybox."""
    with faultable_daemon() as daemon:
        body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}
        assert daemon.http("POST", "/containers/create?name=keeper", body).status == 201
        yield daemon


@pytest.fixture
def scene(shared_faultable: FaultableDaemon, shared_registry: TestRegistry) -> Scene:
    """The daemon, without what a failed test has left."""
    if not shared_faultable.is_running:
        restart(shared_faultable)
    scene = Scene(shared_faultable, shared_registry)
    clear(scene)
    return scene


def restart(daemon: FaultableDaemon) -> None:
    """The next daemon, once it has compared all with containerd."""
    mark = len(daemon.log_text())
    daemon.start()
    wait_until(lambda: "containers restored" in daemon.log_text(since=mark), "it is restored")


def clear(scene: Scene) -> None:
    """Remove what tests make: containers, images, steps of builds."""
    for container in scene.ask("GET", "/containers/json?all=1").json():
        if container["Names"] != ["/keeper"]:
            scene.ask("DELETE", f"/containers/{container['Id']}?force=1", wanted=(204, 404))
    scene.ask("POST", "/build/prune")
    prune(scene)


def wait_over(daemon: FaultableDaemon) -> bool:
    """Wait until nothing more is done; False if the daemon has died of it."""

    def is_over() -> bool:
        with suppress(OSError, AssertionError):  # as it dies
            return not daemon.is_running or daemon.steps()[1] > QUIET_S
        return False

    wait_until(is_over, "all is done", limit_s=LIMIT_S)
    return daemon.is_running


def chosen(points: Sequence[FaultPoint]) -> list[FaultPoint]:
    """This run's share."""
    if ONLY:
        return [point for point in points if str(point) == ONLY]
    return [point for number, point in enumerate(points) if (number + SHIFT) % SHARE == 0]


def enumerate_points(scene: Scene, operation: ImageOperation) -> list[FaultPoint]:
    """Run the operation undisturbed, and see what it does."""
    operation.prepare(scene)
    wait_over(scene.daemon)
    scene.daemon.arm(None)
    operation.act(scene)
    assert wait_over(scene.daemon)
    labels, _ = scene.daemon.steps()
    clear(scene)
    return points_of(labels)


def die_and_return(scene: Scene, operation: ImageOperation, point: FaultPoint) -> bool:
    """One fault from the scene to the second try; whether the point was reached."""
    daemon = scene.daemon
    operation.prepare(scene)
    wait_over(daemon)
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
    whole(scene)
    operation.check(scene)
    operation.act(scene)
    whole(scene)
    operation.check(scene)
    wanted = operation.gives.replace("HOST", scene.registry.host)
    assert not wanted or wanted in scene.images()
    return died


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_survives_a_kill_at_each_step(scene: Scene, tmp_path: Path, name: str) -> None:
    """Nothing half is seen, the second try succeeds, a prune brings the disk's use back."""
    operation = OPERATIONS[name]
    before = stores(scene.daemon)
    points = enumerate_points(scene, operation)
    assert points
    missed = []
    for number, point in enumerate(chosen(points)):
        mark = len(scene.daemon.log_text())
        try:
            with running_registry(tmp_path / str(number)) as registry:
                fresh = Scene(scene.daemon, registry)
                if not die_and_return(fresh, operation, point):
                    missed.append(str(point))
                clear(fresh)
            wait_until(lambda: stores(scene.daemon) == before, "all is as before", limit_s=LIMIT_S)
        except BaseException as error:
            error.add_note(f"FAULT POINT: {name}: {point}")
            now = stores(scene.daemon) if scene.daemon.is_running else {}
            error.add_note(str({w: (before[w], now[w]) for w in now if before[w] != now[w]}))
            error.add_note(scene.daemon.log_text(since=mark)[-5000:])
            raise
        assert "Traceback" not in scene.daemon.log_text(since=mark), point
    print(f"{len(points)} points, not reached: {missed}")
