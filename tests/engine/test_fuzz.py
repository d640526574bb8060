"""Random requests, made from the Engine API's definition, to a real daemon.

None may make it fall over, hang, or say that it is at fault; what is refused changes nothing.
docs/design.md says how to let this run for longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.services.api.openapi import Definition, require_definition
from tests.support.daemon import Daemon, running_daemon, wait_until
from tests.support.fuzz.hunt import Hunt
from tests.support.fuzz.scene import Scene

EXAMPLES: Final = int(os.environ.get("WHARFINGER_FUZZ_EXAMPLES", "0"))
"""How many requests each test sends instead of its usual number."""
SEED: Final = os.environ.get("WHARFINGER_FUZZ_SEED", "1")
REQUESTS_A_SECOND: Final = 2  # at the least, on a machine that has much else to do

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(max(400, EXAMPLES // REQUESTS_A_SECOND)),
]

NOWHERE: Final = "http://127.0.0.1:1"
OWN: Final = {"X-Wharfinger": "test"}
SWARM: Final = ("Node", "Swarm", "Service", "Task", "Secret", "Config")
CONCURRENT: Final = (
    *("ContainerCreate", "ContainerStart", "ContainerStop", "ContainerRestart", "ContainerKill"),
    *("ContainerPause", "ContainerUnpause", "ContainerRename", "ContainerUpdate"),
    *("ContainerDelete", "ContainerAttach", "ContainerResize", "ContainerExec", "ExecStart"),
    *("ExecResize", "NetworkCreate", "NetworkConnect", "NetworkDisconnect", "NetworkDelete"),
    *("VolumeCreate", "VolumeDelete", "ImageTag", "ImageCommit", "ContainerInspect"),
    *("ContainerList", "ContainerWait"),
)
WEIGHTY: Final = (*("ContainerCreate",) * 6, *("NetworkCreate",) * 3, *CONCURRENT)
"""What has most to it comes up more often."""


@pytest.fixture(scope="module")
def definition() -> Definition:
    """The oracle for answers."""
    return require_definition()


@pytest.fixture(scope="module")
def scene(definition: Definition) -> Iterator[Scene]:
    """A daemon that reaches no registry. At its end nothing of what was asked for is left."""
    flags = ("--http-proxy", NOWHERE, "--https-proxy", NOWHERE)
    with running_daemon(*flags, "--swarm-default-advertise-addr", "127.0.0.1") as daemon:
        scene = Scene(daemon)
        scene.furnish()
        yield scene
        scene.clear()


def check(hunt: Hunt, daemon: Daemon) -> None:
    """Nothing was wrong, the daemon is in order, and requests of each kind were among it."""
    assert not hunt.faults, f"seed {SEED}:\n" + "\n\n".join(hunt.faults[:20])
    assert {200, 201, 204, 400, 404} <= set(hunt.statuses), hunt.statuses
    assert daemon.http("GET", "/_ping").status == 200
    audit = daemon.http("POST", "/wharfinger/v1/audit", headers=OWN).json()
    assert audit["Clean"], [one for one in audit["Checks"] if one["Findings"] or one["Error"]]


def open_files(daemon: Daemon) -> int:
    """How many the daemon has."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def test_one_by_one(scene: Scene, definition: Definition) -> None:
    """Every operation but a swarm's; nothing is refused and done."""
    hunt = Hunt(scene, definition, seed=SEED)
    operations = [one for one in hunt.generator.operations if not one.startswith(SWARM)]
    hunt.one_by_one([*operations, *WEIGHTY], EXAMPLES or 150)
    check(hunt, scene.daemon)


def test_many_at_once(scene: Scene, definition: Definition) -> None:
    """Whatever changes the same few objects; in the end what it took is given back."""
    scene.clear()
    before = open_files(scene.daemon)
    scene.furnish()
    hunt = Hunt(scene, definition, seed=SEED, good=0.9)
    hunt.at_once(CONCURRENT, EXAMPLES or 180, workers=6)
    scene.clear()
    check(hunt, scene.daemon)
    wait_until(lambda: open_files(scene.daemon) <= before + 8, "files are closed")


def test_a_swarm(scene: Scene, definition: Definition) -> None:
    """Services, secrets, configs, nodes and tasks, of an engine that is a swarm by itself."""
    scene.clear()
    with scene.swarm():
        hunt = Hunt(scene, definition, seed=SEED, good=0.8)
        operations = [one for one in hunt.generator.operations if one.startswith(SWARM)]
        operations.remove("SwarmLeave")
        hunt.one_by_one([*operations, "NetworkCreate", "VolumeUpdate"], EXAMPLES or 70)
        assert not hunt.faults, f"seed {SEED}:\n" + "\n\n".join(hunt.faults[:20])
    assert scene.daemon.http("GET", "/_ping").status == 200
