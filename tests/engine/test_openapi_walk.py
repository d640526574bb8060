"""Every JSON answer of a real daemon against the API's definition, in several API versions.

The definition is of the newest version, so older versions are held to what they share with it:
answers without a body, errors, and the operations whose schema has not changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import pytest

from services.api.version import CURRENT
from tests.services.api.openapi import Definition, require_definition
from tests.support.daemon import Daemon, image_archive, wait_until
from tests.support.http import Answer

pytestmark = pytest.mark.engine

NEWEST: Final = str(CURRENT)
OLDER: Final = ("1.24", "1.41", "1.44", "1.48", "1.51")


class Walker:
    """Asks one daemon in one API version; each answer is checked as it comes."""

    def __init__(self, daemon: Daemon, definition: Definition, version: str) -> None:
        self.daemon = daemon
        self.seen: set[str] = set()
        self._definition = definition
        self._version = version

    def ask(
        self, operation: str, method: str, path: str, body: object = None, *, status: int = 200
    ) -> Answer:
        """Send a request, demand its status, and hold the body to the definition."""
        content = {"Content-Type": "application/x-tar"} if isinstance(body, bytes) else None
        answer = self.daemon.http(method, f"/v{self._version}{path}", body, content)
        assert answer.status == status, (operation, answer)
        self.seen.add(operation)
        is_json = answer.headers.get("content-type") == "application/json"
        if is_json and answer.body:
            values = answer.json_lines()
            for value in values:
                self._definition.validate(operation, status, value)
        return answer


@pytest.fixture(params=[NEWEST])
def walker(daemon: Daemon, request: pytest.FixtureRequest) -> Walker:
    """A walker in the newest version."""
    return Walker(daemon, require_definition(), request.param)


def create(walker: Walker, name: str, *command: str, **host: object) -> str:
    """A container by way of the API; its id."""
    body = {"Image": "busybox", "Cmd": list(command), "Labels": {"a": "b"}, "HostConfig": host}
    answer = walker.ask(
        "ContainerCreate", "POST", f"/containers/create?name={name}", body, status=201
    )
    return str(answer.json()["Id"])


def walk_system(walker: Walker) -> None:
    """What the engine says about itself."""
    walker.ask("SystemPing", "GET", "/_ping")
    walker.ask("SystemPingHead", "HEAD", "/_ping")
    walker.ask("SystemVersion", "GET", "/version")
    walker.ask("SystemInfo", "GET", "/info")
    walker.ask("SystemEvents", "GET", f"/events?since=1&until={time.time():.3f}")
    walker.ask("SystemEvents", "GET", "/events?since=x", status=400)


def walk_images(walker: Walker) -> None:
    """From an archive to the removal."""
    walker.ask("ImageLoad", "POST", "/images/load?quiet=1", image_archive().read_bytes())
    walker.ask("ImageList", "GET", "/images/json")
    walker.ask("ImageList", "GET", "/images/json?shared-size=1&digests=1&manifests=1")
    image = walker.ask("ImageInspect", "GET", "/images/busybox/json").json()
    walker.ask("ImageInspect", "GET", f"/images/{image['Id']}/json")
    walker.ask("ImageHistory", "GET", "/images/busybox/history")
    walker.ask("ImageTag", "POST", "/images/busybox/tag?repo=walk&tag=one", status=201)
    walker.ask("ImageDelete", "DELETE", "/images/walk:one")
    walker.ask("ImageInspect", "GET", "/images/nosuch/json", status=404)
    walker.ask("ImageDelete", "DELETE", "/images/nosuch", status=404)


def walk_networks(walker: Walker) -> None:
    """The predefined ones."""
    networks = walker.ask("NetworkList", "GET", "/networks").json()
    assert {network["Name"] for network in networks} == {"bridge", "host", "none"}
    for network in networks:
        walker.ask("NetworkInspect", "GET", f"/networks/{network['Id']}")
    walker.ask("NetworkInspect", "GET", "/networks/nosuch", status=404)


def walk_volumes(walker: Walker) -> None:
    """There are none yet, and that has a shape too."""
    walker.ask("VolumeList", "GET", "/volumes")


def walk_containers(walker: Walker) -> None:
    """A container in each of its states, listed and inspected in all of them."""

    def look() -> None:
        walker.ask("ContainerList", "GET", "/containers/json?all=1&size=1")
        walker.ask("ContainerInspect", "GET", "/containers/walked/json")

    create(
        walker, "walked", "sleep", "1000",
        Binds=["/tmp:/mnt:ro"], Memory=64 * 1024 * 1024, Tmpfs={"/t": ""}, CapAdd=["NET_ADMIN"],
        Ulimits=[{"Name": "nofile", "Soft": 100, "Hard": 200}], Init=True, ReadonlyRootfs=True,
        RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3}, ExtraHosts=["a:192.0.2.1"],
    )  # fmt: skip
    look()
    one = "/containers/walked"
    walker.ask("ContainerStart", "POST", f"{one}/start", status=204)
    walker.ask("ContainerStart", "POST", f"{one}/start", status=304)
    look()
    walker.ask("ContainerTop", "GET", f"{one}/top")
    walker.ask("ContainerResize", "POST", f"{one}/resize?h=10&w=10", status=200)
    walker.ask("ContainerLogs", "GET", f"{one}/logs?stdout=1&stderr=1")
    walker.ask("ContainerPause", "POST", f"{one}/pause", status=204)
    look()
    walker.ask("ContainerUnpause", "POST", f"{one}/unpause", status=204)
    walker.ask("ContainerRename", "POST", f"{one}/rename?name=other", status=204)
    walker.ask("ContainerRename", "POST", "/containers/other/rename?name=walked", status=204)
    walker.ask("ContainerRestart", "POST", f"{one}/restart?t=0", status=204)
    walker.ask("ContainerKill", "POST", f"{one}/kill?signal=KILL", status=204)
    walker.ask("ContainerWait", "POST", f"{one}/wait")
    look()
    walker.ask("ContainerKill", "POST", f"{one}/kill", status=409)
    walker.ask("ContainerStop", "POST", f"{one}/stop", status=304)
    walker.ask("ContainerStart", "POST", f"{one}/start", status=204)
    walker.ask("ContainerDelete", "DELETE", one, status=409)
    walker.ask("ContainerStop", "POST", f"{one}/stop?t=0", status=204)
    walker.ask("ContainerDelete", "DELETE", one, status=204)
    for operation, method, path in (
        ("ContainerInspect", "GET", "/json"),
        ("ContainerStart", "POST", "/start"),
        ("ContainerWait", "POST", "/wait"),
        ("ContainerDelete", "DELETE", ""),
    ):
        walker.ask(operation, method, f"/containers/nosuch{path}", status=404)
    body = {"Image": "nosuch", "Cmd": ["true"]}
    walker.ask("ContainerCreate", "POST", "/containers/create", body, status=404)


def walk_failed_starts(walker: Walker) -> None:
    """A container that could not start says why."""
    create(walker, "failed", "nosuch")
    walker.ask("ContainerStart", "POST", "/containers/failed/start", status=400)
    walker.ask("ContainerInspect", "GET", "/containers/failed/json")
    walker.ask("ContainerList", "GET", "/containers/json?all=1")
    walker.ask("ContainerDelete", "DELETE", "/containers/failed", status=204)


def walk_execs(walker: Walker) -> None:
    """Before the start, after it, and after the end."""
    create(walker, "walked", "sleep", "1000", NetworkMode="none")
    walker.ask("ContainerStart", "POST", "/containers/walked/start", status=204)
    body = {"Cmd": ["sleep", "0.2"], "AttachStdout": True, "Tty": True, "Env": ["A=b"]}
    made = walker.ask("ContainerExec", "POST", "/containers/walked/exec", body, status=201).json()
    one = f"/exec/{made['Id']}"
    walker.ask("ExecInspect", "GET", f"{one}/json")
    walker.ask("ExecStart", "POST", f"{one}/start", {"Detach": True, "Tty": True})
    walker.ask("ExecInspect", "GET", f"{one}/json")
    walker.ask("ContainerInspect", "GET", "/containers/walked/json")
    wait_until(
        lambda: not walker.ask("ExecInspect", "GET", f"{one}/json").json()["Running"], "it ended"
    )
    walker.ask("ExecInspect", "GET", "/exec/nosuch/json", status=404)
    walker.ask("ContainerDelete", "DELETE", "/containers/walked?force=1", status=204)


WALKS: Final[tuple[Callable[[Walker], None], ...]] = (
    walk_system,
    walk_images,
    walk_networks,
    walk_volumes,
    walk_containers,
    walk_failed_starts,
    walk_execs,
)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__.removeprefix("walk_"))
def test_answers_fit_the_definition(walker: Walker, walk: Callable[[Walker], None]) -> None:
    """All operations of one tag, with the containers and images that they need."""
    walk(walker)


def test_every_event_fits_the_definition(walker: Walker) -> None:
    """The history of all that the walks do is a list of EventMessages."""
    since = time.time()
    walk_containers(walker)
    path = f"/events?since={since:.6f}&until={time.time():.6f}"
    events = walker.ask("SystemEvents", "GET", path).json_lines()
    assert {"create", "start", "die", "pause", "rename", "destroy"} <= {e["Action"] for e in events}


ABSENT_BEFORE: Final = {
    # Members of an inspect, and the first version that has them.
    "ImageManifestDescriptor": "1.48",
}


@pytest.mark.parametrize("version", OLDER)
def test_older_versions_answer_their_own_way(daemon: Daemon, version: str) -> None:
    """The same walk: statuses hold in every version, and each answer is JSON or empty."""

    def ask(method: str, path: str, body: object = None) -> Any:
        answer = daemon.http(method, f"/v{version}{path}", body)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body.startswith((b"{", b"[")) else None

    body = {"Image": "busybox", "Cmd": ["sleep", "100"]}
    made = ask("POST", "/containers/create?name=old", body)
    ask("POST", "/containers/old/start")
    inspected = ask("GET", "/containers/old/json")
    assert inspected["Id"] == made["Id"]
    for member, since in ABSENT_BEFORE.items():
        if tuple(map(int, version.split("."))) < tuple(map(int, since.split("."))):
            assert member not in inspected
    settings = inspected["NetworkSettings"]
    assert settings["Networks"]["bridge"]["IPAddress"]
    assert ("IPAddress" in settings) == (tuple(map(int, version.split("."))) < (1, 52))
    filters = quote(json.dumps({"name": ["old"]}))
    (summary,) = ask("GET", f"/containers/json?filters={filters}")
    assert ("Health" in summary) == (tuple(map(int, version.split("."))) >= (1, 52))
    assert summary["State"] == "running"
    ask("GET", "/info")
    assert ask("GET", "/version")["MinAPIVersion"] == "1.24"
    (image,) = ask("GET", "/images/json")
    assert ("VirtualSize" in image) == (tuple(map(int, version.split("."))) < (1, 44))
    ask("DELETE", "/containers/old?force=1")


def test_an_unversioned_path_is_the_newest(daemon: Daemon) -> None:
    """The same members with and without."""
    bare, named = (daemon.http("GET", f"{prefix}/info").json() for prefix in ("", f"/v{NEWEST}"))
    assert bare.keys() == named.keys()
