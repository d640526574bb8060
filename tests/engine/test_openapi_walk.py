"""Every JSON answer of a real daemon, held against the Engine API's definition.

Skipped where the definition is not at hand; `tests.services.api.openapi` says where it is looked
for.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from services.api.routes.not_yet import UNSUPPORTED
from tests.compatibility_doc import plain, served_operations
from tests.services.api.openapi import Definition, require_definition
from tests.services.images.archives import tar_of
from tests.support.broken_http import Fault, fault_proxy
from tests.support.daemon import Daemon, image_archive, wait_until
from tests.support.http import Answer
from tests.support.registry import DOCKER_LAYER, running_registry

pytestmark = pytest.mark.engine

VERSIONS: Final = ("1.24", "1.41", "1.44", "1.50", "1.52", "1.56")
"""Between these, answers differ: the oldest, Debian's, and those that brought or took members."""

LABELLED: Final = "filters=%7B%22label%22:%5B%22pruned%22%5D%7D"
"""Keeps a prune from what it must leave: only what has the label `pruned`."""

NO_JSON: Final = frozenset(
    {
        *("SystemPing", "SystemPingHead", "ContainerLogs", "ContainerAttach", "ContainerStart"),
        *("ContainerStop", "ContainerRestart", "ContainerKill", "ContainerPause"),
        *("ContainerUnpause", "ContainerResize", "ContainerDelete", "ExecStart", "ExecResize"),
        *("ContainerRename", "ImageTag", "ContainerExport", "ContainerArchive"),
        *("ContainerArchiveInfo", "PutContainerArchive", "ImageCreate", "ImageCommit"),
        *("ImageGet", "ImageGetAll", "ContainerAttachWebsocket", "ImagePush", "ImageBuild"),
        *("VolumeDelete", "VolumeUpdate", "NetworkConnect", "NetworkDisconnect", "NetworkDelete"),
        *("SwarmJoin", "SwarmLeave", "SwarmUpdate", "SwarmUnlock", "NodeUpdate", "NodeDelete"),
        *("ServiceDelete", "ServiceLogs", "TaskLogs", "SecretUpdate", "SecretDelete"),
        *("ConfigUpdate", "ConfigDelete", "Session"),
    }
)  # fmt: skip
"""Served, and answering with a stream, a text, or nothing."""


@pytest.fixture(scope="module")
def definition() -> Definition:
    """The oracle."""
    return require_definition()


@dataclass(kw_only=True)
class Stage:
    """A daemon with a container in each state; `checked` gathers the operations that were seen."""

    daemon: Daemon
    definition: Definition
    containers: Mapping[str, str] = field(default_factory=dict)  # id by name
    execs: Mapping[str, str] = field(default_factory=dict)
    since: float = field(default_factory=time.time)

    def ask(self, request: str, body: object = None, *, version: str = "1.56") -> Answer:
        """The answer to "METHOD /path" in a version of the API."""
        method, _, path = request.partition(" ")
        return self.daemon.http(method, f"/v{version}{path}", body)

    def check(
        self,
        operation: str,
        request: str,
        body: object = None,
        *,
        status: int = 200,
        version: str = "1.56",
    ) -> Any:
        """Ask, and hold the answer against the operation's schema; the decoded answer."""
        answer = self.ask(request, body, version=version)
        assert answer.status == status, answer
        assert answer.headers["content-type"] == "application/json"
        decoded = answer.json()
        self.definition.validate(operation, status, decoded)
        return decoded

    def create(self, name: str, *command: str, **fields: Any) -> str:
        """Create a container; its id."""
        host = {"NetworkMode": "none", **fields.pop("HostConfig", {})}
        body = {"Image": "busybox", "Cmd": command, "HostConfig": host, **fields}
        answer = self.ask(f"POST /containers/create?name={name}", body)
        assert answer.status == 201, answer
        return str(answer.json()["Id"])

    def do(self, request: str, body: object = None) -> Any:
        """Ask for something that must succeed; the decoded answer, if it has one."""
        answer = self.ask(request, body)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body else None


@pytest.fixture(scope="module")
def stage(shared_daemon: Daemon, definition: Definition) -> Iterator[Stage]:
    """One stage for the tests of this module, none of which changes it."""
    shared_daemon.remove_containers()
    stage = Stage(daemon=shared_daemon, definition=definition)
    set_containers(stage)
    set_execs(stage)
    yield stage
    shared_daemon.remove_containers()


def set_containers(stage: Stage) -> None:
    """A container in each state, and some with much to tell."""
    folder = stage.daemon.folder
    rich = {
        "NetworkMode": "bridge",
        "Binds": [f"{folder}:/bound:ro"],
        "Mounts": [
            {"Type": "bind", "Source": str(folder), "Target": "/mounted", "ReadOnly": True},
            {"Type": "tmpfs", "Target": "/memory", "TmpfsOptions": {"SizeBytes": 65536}},
        ],
        "Tmpfs": {"/scratch": "size=64k"},
        "Memory": 64 * 1024 * 1024,
        "NanoCpus": 500_000_000,
        "PidsLimit": 50,
        "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        "ExtraHosts": ["other:192.0.2.1"],
        "Dns": ["192.0.2.53"],
        "CapAdd": ["NET_ADMIN"],
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
    }
    made = {
        "created": stage.create("created", "true"),
        "running": stage.create("running", "sleep", "1000"),
        "rich": stage.create(
            "rich",
            *("sleep", "1000"),
            HostConfig=rich,
            Env=["A=b"],
            Labels={"a": "b"},
            Hostname="box",
            StopSignal="SIGINT",
            StopTimeout=3,
            ExposedPorts={"80/tcp": {}},
        ),
        "terminal": stage.create("terminal", "cat", Tty=True, OpenStdin=True),
        "paused": stage.create("paused", "sleep", "1000"),
        "exited": stage.create("exited", "sh", "-c", "echo out; exit 3"),
        "killed": stage.create("killed", "sleep", "1000"),
        "unstartable": stage.create("unstartable", "nosuch"),
    }
    for name in ("running", "rich", "terminal", "paused", "exited", "killed"):
        stage.do(f"POST /containers/{name}/start")
    assert stage.ask("POST /containers/unstartable/start").status == 400
    stage.do("POST /containers/paused/pause")
    stage.do("POST /containers/killed/kill")
    for name in ("exited", "killed"):
        stage.do(f"POST /containers/{name}/wait")
    stage.containers = made


def set_execs(stage: Stage) -> None:
    """An exec that never ran, one that runs, one that ended, one that could not start."""
    commands = {
        "created": ["true"],
        "running": ["sleep", "1000"],
        "ended": ["sh", "-c", "exit 4"],
        "unstartable": ["nosuch"],
    }
    execs: dict[str, str] = {}
    for name, command in commands.items():
        body = {"Cmd": command, "AttachStdout": True, "Env": ["A=b"], "User": "0:0"}
        made = stage.check("ContainerExec", "POST /containers/running/exec", body, status=201)
        execs[name] = made["Id"]
    for name in ("running", "ended"):
        stage.do(f"POST /exec/{execs[name]}/start", {"Detach": True})
    stage.ask(f"POST /exec/{execs['unstartable']}/start", {"Detach": True})
    wait_until(
        lambda: stage.do(f"GET /exec/{execs['ended']}/json")["ExitCode"] == 4, "an exec ended"
    )
    stage.execs = execs


# ── what is there ────────────────────────────────────────────────────────────────────────────

Walk = Callable[[Stage, str], None]


def walk_system(stage: Stage, version: str) -> None:
    """SystemVersion and SystemInfo."""
    stage.check("SystemVersion", "GET /version", version=version)
    info = stage.check("SystemInfo", "GET /info", version=version)
    stage.check("SystemDataUsage", "GET /system/df", version=version)
    assert (info["ContainersRunning"], info["ContainersPaused"]) == (3, 1)


def walk_events(stage: Stage, version: str) -> None:
    """SystemEvents: a line of JSON each, of every kind that there was on this stage."""
    span = f"since={stage.since:.6f}&until={time.time():.6f}"
    answer = stage.ask(f"GET /events?{span}", version=version)
    assert answer.status == 200
    events = answer.json_lines()
    actions = {event["Action"].partition(":")[0] for event in events}
    assert {"create", "start", "pause", "die", "kill", "exec_create", "exec_die"} <= actions
    for event in events:
        stage.definition.validate("SystemEvents", 200, event)


def walk_images(stage: Stage, version: str) -> None:
    """ImageList, ImageInspect, ImageHistory, with all that can be asked for."""
    (image,) = stage.check("ImageList", "GET /images/json", version=version)
    stage.check("ImageList", "GET /images/json?shared-size=1&digests=1", version=version)
    stage.check("ImageList", "GET /images/json?manifests=1", version=version)
    for name in ("busybox", image["Id"]):
        stage.check("ImageInspect", f"GET /images/{name}/json", version=version)
        stage.check("ImageHistory", f"GET /images/{name}/history", version=version)
    stage.check("ImageInspect", "GET /images/busybox/json?manifests=1", version=version)
    stage.check("ImageAttestations", "GET /images/busybox/attestations", version=version)
    stage.check("BuildPrune", "POST /build/prune", version=version)


def walk_containers(stage: Stage, version: str) -> None:
    """ContainerList and ContainerInspect in every state, top, wait and stats."""
    listed = stage.check("ContainerList", "GET /containers/json?all=1", version=version)
    assert {one["Id"] for one in listed} == set(stage.containers.values())
    for name, container_id in stage.containers.items():
        shown = stage.check("ContainerInspect", f"GET /containers/{name}/json", version=version)
        assert shown["Id"] == container_id
    for name in ("running", "rich", "terminal"):
        stage.check("ContainerTop", f"GET /containers/{name}/top", version=version)
    # Only rich has changed anything, by the places for its mounts: none is null, as dockerd's.
    stage.check("ContainerChanges", "GET /containers/rich/changes", version=version)
    for name in ("created", "running", "rich", "paused", "exited"):
        path = f"GET /containers/{name}/stats?stream=0&one-shot=1"
        stage.check("ContainerStats", path, version=version)
    for name in ("exited", "killed"):
        stage.check("ContainerWait", f"POST /containers/{name}/wait", version=version)


def walk_execs(stage: Stage, version: str) -> None:
    """ExecInspect in every state."""
    for exec_id in stage.execs.values():
        stage.check("ExecInspect", f"GET /exec/{exec_id}/json", version=version)


def walk_networks(stage: Stage, version: str) -> None:
    """NetworkList and NetworkInspect, the bridge with members; NetworkCreate and NetworkPrune."""
    listed = stage.check("NetworkList", "GET /networks", version=version)
    assert [network["Name"] for network in listed] == ["bridge", "host", "none"]
    for network in listed:
        stage.check("NetworkInspect", f"GET /networks/{network['Id']}", version=version)
    bridge = stage.check("NetworkInspect", "GET /networks/bridge?verbose=1", version=version)
    assert list(bridge["Containers"]) == [stage.containers["rich"]]
    rich = {"EnableIPv6": True, "Internal": True, "Labels": {"a": "b"}}
    more: dict[str, object]
    for number, more in enumerate(({}, rich)):
        body = {"Name": f"walked{number}", **more}
        stage.check("NetworkCreate", "POST /networks/create", body, status=201, version=version)
        stage.check("NetworkInspect", f"GET /networks/walked{number}", version=version)
    stage.check("NetworkList", "GET /networks", version=version)
    stage.do("DELETE /networks/walked0")
    pruned = stage.check("NetworkPrune", "POST /networks/prune", version=version)
    assert pruned == {"NetworksDeleted": ["walked1"]}


def walk_volumes(stage: Stage, version: str) -> None:
    """VolumeCreate, VolumeInspect, VolumeList, with and without labels and options."""
    labels = {"Labels": {"a": "b"}, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}
    for name, more in (("bare", {}), ("rich", labels)):
        body = {"Name": name, **more}
        path = "POST /volumes/create"
        made = stage.check("VolumeCreate", path, body, status=201, version=version)
        shown = stage.check("VolumeInspect", f"GET /volumes/{name}", version=version)
        assert shown == made
    stage.check("VolumeList", "GET /volumes", version=version)
    stage.check("VolumePrune", f"POST /volumes/prune?{LABELLED}", version=version)
    for name in ("bare", "rich"):
        stage.do(f"DELETE /volumes/{name}")


def walk_absent(stage: Stage, version: str) -> None:
    """PluginList, which is empty."""
    stage.check("PluginList", "GET /plugins", version=version)


def walk_registry(stage: Stage, version: str) -> None:
    """SystemAuth, DistributionInspect, ImageSearch; the lines of ImageCreate and ImagePush."""
    if shutil.which("docker-registry") is None:
        return
    with (
        running_registry(stage.daemon.folder / f"registry-{version}") as registry,
        fault_proxy(registry.host) as index,
    ):
        layer = tar_of({"file": b"x" * 3_000_000})
        registry.put_image("walked", "1", [(DOCKER_LAYER, layer, layer)])
        name = f"{registry.host}/walked"
        stage.check("SystemAuth", "POST /auth", {"serveraddress": registry.host}, version=version)
        path = f"GET /distribution/{name}:1/json"
        stage.check("DistributionInspect", path, version=version)
        found = b'{"results":[{"name":"a","star_count":1}]}'
        index.judge = lambda _seen, _before: Fault(status=200, body=found)
        path = f"GET /images/search?term={index.host}/a"
        stage.check("ImageSearch", path, version=version)
        for path in (f"/images/create?fromImage={name}&tag=1", f"/images/{name}/push?tag=1"):
            answer = stage.daemon.http(
                "POST", f"/v{version}{path}", headers={"X-Registry-Auth": "e30="}
            )
            assert answer.status == 200, answer
            for line in answer.json_lines():
                stage.definition.validate_as(
                    "CreateImageInfo" if "create" in path else "PushImageInfo", line
                )
        stage.do(f"DELETE /images/{name}:1")


WALKS: Final = (
    walk_system,
    walk_events,
    walk_images,
    walk_containers,
    walk_execs,
    walk_networks,
    walk_volumes,
    walk_absent,
    walk_registry,
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_what_is_there(stage: Stage, walk: Walk, version: str) -> None:
    """Every answer fits the definition, in every version of the API."""
    walk(stage, version)


# ── what is changed ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_changed(stage: Stage, version: str) -> None:
    """Answers to create, update, prune, exec and remove fit; after them all is as it was."""
    host = {"NetworkMode": "none", "Memory": 2**23}
    body = {"Image": "busybox", "HostConfig": host, "Labels": {"pruned": ""}}
    path = "POST /containers/create"
    made = stage.check("ContainerCreate", path, body, status=201, version=version)
    limits = {"Memory": 2**24, "MemorySwap": 2**25}
    path = f"POST /containers/{made['Id']}/update"
    stage.check("ContainerUpdate", path, limits, version=version)
    for expected in ([made["Id"]], []):
        path = f"POST /containers/prune?{LABELLED}"
        pruned = stage.check("ContainerPrune", path, version=version)
        assert (pruned["ContainersDeleted"] or []) == expected
    path = "POST /containers/running/exec"
    stage.check("ContainerExec", path, {"Cmd": ["true"]}, status=201, version=version)
    stage.do("POST /images/busybox/tag?repo=other&tag=1")
    stage.check("ImageDelete", "DELETE /images/other:1", version=version)
    assert stage.check("ImagePrune", "POST /images/prune", version=version)["SpaceReclaimed"] == 0


@pytest.mark.parametrize("quiet", ["0", "1"])
def test_what_a_load_tells(stage: Stage, quiet: str) -> None:
    """Each line of its progress is a JSONMessage of the definition."""
    for body in (image_archive().read_bytes(), b"rubbish"):
        answer = stage.ask(f"POST /images/load?quiet={quiet}", body)
        assert answer.status == 200
        for line in answer.json_lines():
            assert set(line) <= {"stream", "status", "id", "progress", "progressDetail"} | {
                "error",
                "errorDetail",
            }


# ── errors ───────────────────────────────────────────────────────────────────────────────────

ERRORS: Final[tuple[tuple[Any, ...], ...]] = (
    ("GET /nosuch", None, 404),
    ("GET /containers/nosuch/json", None, 404),
    ("GET /containers/json?filters=x", None, 400),
    ("GET /containers/running/logs", None, 400),
    ("POST /containers/create", {}, 400),
    ("POST /containers/create", {"Image": "nosuch"}, 404),
    ("POST /containers/create?name=running", {"Image": "busybox"}, 409),
    ("POST /containers/created/kill", None, 409),
    ("POST /containers/created/exec", {"Cmd": ["true"]}, 409),
    ("POST /containers/unstartable/start", None, 400),
    ("POST /containers/nosuch/attach", None, 404),
    ("DELETE /containers/running", None, 409),
    ("GET /exec/nosuch/json", None, 404),
    ("GET /images/nosuch/json", None, 404),
    ("DELETE /images/nosuch", None, 404),
    ("GET /networks/nosuch", None, 404),
    ("DELETE /networks/bridge", None, 403),
    ("POST /networks/create", {"Name": "host"}, 403),
    ("POST /networks/create", {"Name": "n", "IPAM": {"Config": [{"Subnet": "x"}]}}, 400),
    ("POST /networks/bridge/connect", {"Container": "nosuch"}, 404),
    ("GET /volumes/nosuch", None, 404),
    ("GET /events?since=x", None, 400),
    ("GET /plugins/privileges", None, 501),
)


@pytest.mark.parametrize("version", [*VERSIONS, "1.23", "1.99"])
def test_errors(stage: Stage, version: str) -> None:
    """Whatever goes wrong, the answer is an ErrorResponse."""
    for request, body, status in ERRORS:
        answer = stage.ask(request, body, version=version)
        in_range = version in VERSIONS or request == "GET /nosuch"
        assert answer.status == (status if in_range else 400), (request, answer)
        assert answer.headers["content-type"] == "application/json"
        stage.definition.validate_as("ErrorResponse", answer.json())


# ── all of the definition ────────────────────────────────────────────────────────────────────

WALKED: Final = frozenset(
    {
        *("SystemVersion", "SystemInfo", "SystemEvents", "VolumeList", "VolumeInspect"),
        *("ImageList", "ImageInspect", "ImageHistory", "ImageDelete", "ImageLoad", "PluginList"),
        *("ContainerList", "ContainerInspect", "ContainerTop", "ContainerWait", "ContainerCreate"),
        *("ContainerPrune", "ContainerUpdate", "ContainerChanges", "VolumeCreate", "VolumePrune"),
        *("SystemAuth", "DistributionInspect", "ImageSearch"),
        *("BuildPrune", "ImagePrune", "ImageAttestations", "SystemDataUsage"),
        *("ContainerStats", "ContainerExec", "ExecInspect", "NetworkList", "NetworkInspect"),
        *("NetworkCreate", "NetworkPrune"),
        # In `test_openapi_walk_swarm`:
        *("SwarmInit", "SwarmInspect", "SwarmUnlockkey", "NodeList", "NodeInspect"),
        *("ServiceCreate", "ServiceList", "ServiceInspect", "ServiceUpdate"),
        *("TaskList", "TaskInspect", "SecretCreate", "SecretList", "SecretInspect"),
        *("ConfigCreate", "ConfigList", "ConfigInspect"),
    }
)
"""Those whose answers the tests above look at."""


def test_no_served_operation_is_left_out(definition: Definition) -> None:
    """What comes to be served has to be walked too."""
    served = served_operations()
    ids = {one.id for one in definition.operations() if (one.method, plain(one.path)) in served}
    assert ids == WALKED | NO_JSON


def test_every_operation_has_an_answer(stage: Stage) -> None:
    """Served, or refused with its sentence: no operation of the definition is an unknown page."""
    sentences = {(row.method, row.path): row.sentence for row in UNSUPPORTED}
    for operation in stage.definition.operations():
        if operation.id in ("SystemAuth", "DistributionInspect"):  # would ask Docker Hub
            continue
        # An unknown name is nobody's; `until` ends what would otherwise go on.
        query = LABELLED if operation.path.endswith("/prune") else "until=1"
        path = re.sub(r"\{[^}]*\}", "nosuch", operation.path) + f"?{query}"
        answer = stage.ask(f"{operation.method} {path}")
        sentence = sentences.get((operation.method, operation.path))
        if sentence is not None:
            assert answer.status == 501, operation
            assert operation.method == "HEAD" or answer.message == sentence
        else:
            assert answer.status in (200, 400, 404, 503), (operation, answer)
            assert b"page not found" not in answer.body, operation
