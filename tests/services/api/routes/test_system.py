"""The routes of the engine itself: version, info, events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from services.api.cluster_face import ClusterFace, OutsideSwarm
from services.api.components import Component, Components, parse_version
from services.api.routes.cluster_modules import ClusterModules
from services.api.routes.system import SystemRoutes
from services.api.streams.events import choose_content_type
from services.api.types.engine_info import EngineInfo, OpenHost
from services.errors import Unavailable
from services.events import MIGRATION, Event, EventBus
from services.images import Image, ImageFilters
from services.store import Store
from services.system import CgroupFacts, HostFacts
from tests.services.api.client import Api, Stream, api_of
from tests.services.api.images import MemoryImages, bare_image
from tests.services.api.openapi import require_definition
from tests.services.cluster.face import Manager

HOST = HostFacts(hostname="host", ncpu=3, memory_total_bytes=5, os_version="12")
ENGINE = EngineInfo(
    engine_id="the-engine", version="0.1.0", commit="abc", host=HOST, data_root="/var/lib/x",
    labels=("a=1",), language="Python 3.11", containerd_address="/run/c.sock",
    firewall="nftables",
)  # fmt: skip


class Counts:
    def count_states(self) -> Mapping[str, int]:
        return {"running": 3, "paused": 2, "stopped": 1}


class FixedVersion:
    """containerd, or its absence."""

    def __init__(self, *, is_up: bool = True) -> None:
        self.is_up = is_up

    async def get(self) -> tuple[str, str]:
        if not self.is_up:
            raise Unavailable("containerd is away")
        return "1.6.20", "rev"


class AwayImages:
    async def list(self, filters: ImageFilters = ImageFilters()) -> Sequence[Image]:  # noqa: B008
        raise Unavailable("containerd is away")


def program(folder: Path, name: str, text: str) -> str:
    """A program that prints `text`."""
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}\nEOF\n")
    path.chmod(0o755)
    return str(path)


@asynccontextmanager
async def serving(
    tmp_path: Path,
    engine: EngineInfo = ENGINE,
    *,
    is_up: bool = True,
    cluster: ClusterFace | None = None,
) -> AsyncIterator[tuple[Api, EventBus]]:
    store = Store(tmp_path / "state.db", [MIGRATION])
    bus = EventBus(store)
    routes = SystemRoutes(
        engine=lambda: engine,
        components=Components(
            containerd=FixedVersion(is_up=is_up),
            runc=program(tmp_path, "runc", "runc version 1.1.5+ds1\ncommit: 1.1.5-1\nspec: 1.0.2"),
            init=lambda: program(tmp_path, "tini", "tini version 0.19.0 - git.de40ad0"),
        ),
        containers=Counts(),
        images=MemoryImages([bare_image()]) if is_up else AwayImages(),
        events=bus,
        cluster=ClusterModules(cluster or OutsideSwarm()),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(bus.run)
        async with api_of(tmp_path, routes.blueprint()) as api:
            yield api, bus
        nursery.cancel_scope.cancel()


async def test_version(tmp_path: Path) -> None:
    """The engine and what it stands on, as clients know the parts."""
    async with serving(tmp_path) as (api, _):
        wire = (await api.call("GET", "/version")).json()
    require_definition().validate("SystemVersion", 200, wire)
    assert wire["Version"] == "0.1.0"
    assert (wire["ApiVersion"], wire["MinAPIVersion"]) == ("1.56", "1.24")
    assert (wire["Os"], wire["Arch"]) == ("linux", "amd64")
    assert wire.keys() >= {"GitCommit", "GoVersion", "KernelVersion", "BuildTime"}
    engine, *parts = wire["Components"]
    assert (engine["Name"], engine["Details"]["Experimental"]) == ("Engine", "false")
    assert parts == [
        {"Name": "containerd", "Version": "1.6.20", "Details": {"GitCommit": "rev"}},
        {"Name": "runc", "Version": "1.1.5+ds1", "Details": {"GitCommit": "1.1.5-1"}},
        {"Name": "docker-init", "Version": "0.19.0", "Details": {"GitCommit": "de40ad0"}},
    ]


async def test_info(tmp_path: Path) -> None:
    """Counts, limits and settings fit the definition and are true."""
    async with serving(tmp_path) as (api, _):
        wire = (await api.call("GET", "/info")).json()
    require_definition().validate("SystemInfo", 200, wire)
    assert [wire["Containers"], wire["ContainersRunning"], wire["Images"]] == [6, 3, 1]
    assert (wire["ID"], wire["Name"], wire["NCPU"], wire["MemTotal"]) == (
        "the-engine",
        "host",
        3,
        5,
    )
    assert wire["Swarm"]["LocalNodeState"] == "inactive"
    assert wire["RuncCommit"] == {"ID": "1.1.5-1"}
    assert wire["NFd"] > 0
    assert wire["NGoroutines"] > 0
    assert wire["Warnings"] == []


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("1.45", {"BridgeNfIptables"}, {"Containerd", "FirewallBackend", "DiscoveredDevices"}),
        ("1.48", {"BridgeNfIptables", "Containerd"}, {"FirewallBackend", "DiscoveredDevices"}),
        ("1.49", {"BridgeNfIptables", "FirewallBackend"}, {"DiscoveredDevices"}),
        ("1.50", {"FirewallBackend", "DiscoveredDevices"}, {"BridgeNfIptables"}),
    ],
)
async def test_info_in_older_versions(
    tmp_path: Path, version: str, present: set[str], absent: set[str]
) -> None:
    """What came and went with the versions of the API."""
    async with serving(tmp_path) as (api, _):
        wire = (await api.call("GET", f"/v{version}/info")).json()
    assert present <= wire.keys()
    assert not absent & wire.keys()
    assert ("Expected" in wire["RuncCommit"]) == (version < "1.49")


async def test_info_of_a_manager_and_of_a_worker(tmp_path: Path) -> None:
    """A manager tells of the cluster, without its tokens and keys; a worker of itself."""
    manager = Manager()
    async with serving(tmp_path, cluster=manager) as (api, _):
        wire = (await api.call("GET", "/info")).json()
        manager.is_worker = True
        worker = (await api.call("GET", "/info")).json()["Swarm"]
    require_definition().validate("SystemInfo", 200, wire)
    swarm = wire["Swarm"]
    assert (swarm["LocalNodeState"], swarm["ControlAvailable"]) == ("active", True)
    assert swarm["RemoteManagers"][0]["Addr"] == "10.0.0.1:2377"
    assert swarm["Cluster"]["Spec"]["Name"] == "default"
    assert "JoinTokens" not in swarm["Cluster"]
    assert (swarm["Nodes"], swarm["Managers"]) == (2, 2)
    assert "two-manager configuration" in swarm["Warnings"][0]
    assert (worker["ControlAvailable"], "Cluster" in worker) == (False, False)


async def test_info_tells_what_a_swarm_is_told(tmp_path: Path) -> None:
    """Generic resources, in or out of a swarm."""
    engine = replace(ENGINE, generic_resources=("gpu=a,gpu=b", "ssd=3"))
    async with serving(tmp_path, engine) as (api, _):
        wire = (await api.call("GET", "/info")).json()
    require_definition().validate("SystemInfo", 200, wire)
    assert wire["GenericResources"] == [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "a"}},
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "b"}},
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
    ]


async def test_info_without_containerd(tmp_path: Path) -> None:
    """The rest of the answer is given, and what is not known is said."""
    async with serving(tmp_path, is_up=False) as (api, _):
        answer = await api.call("GET", "/info")
        version = await api.call("GET", "/version")
    assert (answer.status, version.status) == (200, 200)
    assert any("containerd does not answer" in text for text in answer.json()["Warnings"])
    assert answer.json()["ContainerdCommit"] == {"ID": ""}


async def test_info_warns(tmp_path: Path) -> None:
    """Of limits that the kernel lacks, and of hosts that anyone may speak to."""
    engine = replace(
        ENGINE,
        host=replace(HOST, cgroup=CgroupFacts(swap_limit=False)),
        open_hosts=(
            OpenHost(address="0.0.0.0:2375", is_encrypted=False),
            OpenHost(address="0.0.0.0:2376", is_encrypted=True),
        ),
    )
    async with serving(tmp_path, engine) as (api, _):
        swap, plain, unverified = (await api.call("GET", "/info")).json()["Warnings"]
    assert swap == "WARNING: No swap limit support"
    assert plain.startswith("WARNING: API is accessible on http://0.0.0.0:2375 without encryption.")
    assert "https://0.0.0.0:2376 without TLS client verification" in unverified


@pytest.mark.parametrize(
    ("text", "version", "commit"),
    [
        ("tini version 0.19.0", "0.19.0", ""),
        ("tini version 0.19.0 - git.de40ad0\n", "0.19.0", "de40ad0"),
        ("runc version 1.2.3\ncommit: v1.2.3-0-gabc\nspec: 1\n", "1.2.3", "v1.2.3-0-gabc"),
        ("what?", "", ""),
    ],
)
def test_versions_of_programs(text: str, version: str, commit: str) -> None:
    """Each program's way to say it."""
    assert parse_version("x", text) == Component(name="x", version=version, commit=commit)


def event(n: int, **fields: Any) -> Event:
    values: dict[str, Any] = {
        "type": "container", "action": "start", "actor_id": f"id{n}", "time_ns": n * 10**9,
        "attributes": {"image": "busybox"},
    }  # fmt: skip
    return Event(**(values | fields))


def decoded(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.split(b"\n") if line]


async def next_event(stream: Stream) -> Any:
    part = await stream.part()
    assert part is not None
    return json.loads(part)


async def test_events_come_as_they_happen(tmp_path: Path) -> None:
    """The head is sent before there is an event; each event fits the definition."""
    async with serving(tmp_path) as (api, bus), api.stream("GET", "/events") as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "application/json")
        assert bus.subscribers == 1
        await bus.commit(event(1))
        wire = await next_event(stream)
    require_definition().validate("SystemEvents", 200, wire)
    assert wire["Actor"] == {"ID": "id1", "Attributes": {"image": "busybox"}}
    assert not {"status", "id", "from"} & wire.keys()


async def test_legacy_members(tmp_path: Path) -> None:
    """Below 1.52 what old clients panic without."""
    async with serving(tmp_path) as (api, bus):
        await bus.commit(event(1))
        answer = await api.call("GET", "/v1.51/events?since=0&until=5")
    (wire,) = decoded(answer.body)
    assert (wire["status"], wire["id"], wire["from"]) == ("start", "id1", "busybox")


async def test_the_past(tmp_path: Path) -> None:
    """since and until in seconds with decimals, both inclusive; the answer ends."""
    async with serving(tmp_path) as (api, bus):
        await bus.commit(*(event(n) for n in range(1, 6)))
        answer = await api.call("GET", "/events?since=2&until=4.000000000")
        later = await api.call("GET", "/events?since=2.000000001&until=4")
        upto = await api.call("GET", "/events?until=2")
    times = [[wire["time"] for wire in decoded(a.body)] for a in (answer, later, upto)]
    assert times == [[2, 3, 4], [3, 4], [1, 2]]


async def test_filters(tmp_path: Path) -> None:
    """Only what is asked for."""
    filters = quote(json.dumps({"event": ["die"], "container": ["id2"]}))
    async with serving(tmp_path) as (api, bus):
        await bus.commit(event(1, action="die"), event(2), event(2, action="die"))
        answer = await api.call("GET", f"/events?since=0&until=9&filters={filters}")
    assert [wire["Actor"]["ID"] for wire in decoded(answer.body)] == ["id2"]


async def test_new_images_are_news_from_1_46_on(tmp_path: Path) -> None:
    """Older clients have never seen `create` of an image."""
    async with serving(tmp_path) as (api, bus):
        await bus.commit(event(1, type="image", action="create"), event(2))
        counts = [
            len(decoded((await api.call("GET", f"/v{v}/events?since=0&until=9")).body))
            for v in ("1.45", "1.46")
        ]
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=x", "x"),
        ("until=2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("since=5&until=4", "`since` time (5) cannot be after `until` time (4)"),
        ("filters=x", "invalid filter"),
    ],
)
async def test_bad_queries(tmp_path: Path, query: str, message: str) -> None:
    """400 before the stream begins."""
    async with serving(tmp_path) as (api, _):
        answer = await api.call("GET", f"/events?{query}")
    assert answer.status == 400
    assert message in answer.message


async def test_sequences(tmp_path: Path) -> None:
    """RFC 7464: each value after a record separator."""
    async with serving(tmp_path) as (api, bus):
        await bus.commit(event(1))
        answer = await api.call("GET", "/events?since=0&until=9", Accept="application/json-seq")
    assert answer.headers["content-type"] == "application/json-seq"
    assert answer.body.startswith(b"\x1e{")
    assert answer.body.endswith(b"}\n")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/x-ndjson"),
        ("application/*", "application/x-ndjson"),
        ("application/json-seq", "application/json-seq"),
        ("application/json-seq, */*", "application/json-seq"),
        ("application/json-seq;q=0.5, application/x-ndjson;q=0.4", "application/json-seq"),
        ("application/json-seq;q=0.3, application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson;q=0", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_content_types(accept: str, chosen: str) -> None:
    """What the client prefers of what there is."""
    assert choose_content_type(accept) == chosen


async def test_a_gap_is_an_event_that_any_client_can_read(tmp_path: Path) -> None:
    """What a slow reader missed is told as an event of the daemon, with how many there were."""
    store = Store(tmp_path / "state.db", [MIGRATION])
    bus = EventBus(store, history_limit=10, recent_limit=2)
    routes = SystemRoutes(
        engine=lambda: ENGINE,
        components=Components(containerd=FixedVersion(), runc="/nowhere", init=lambda: "/nowhere"),
        containers=Counts(),
        images=MemoryImages([]),
        events=bus,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(bus.run)
        text = {"image": "x" * 10_000}
        async with (
            api_of(tmp_path, routes.blueprint()) as api,
            api.stream("GET", "/events") as stream,
        ):
            for start in range(0, 1500, 100):  # more than sockets' buffers hold: the reader stalls
                await bus.commit(*(event(n, attributes=text) for n in range(start, start + 100)))
            while True:
                (wire, *_) = await _values(stream)
                if wire["Type"] == "daemon":
                    break
        nursery.cancel_scope.cancel()
    require_definition().validate("SystemEvents", 200, wire)
    assert wire["Action"] == "events-lost"
    assert wire["Actor"]["ID"] == "the-engine"
    assert int(wire["Actor"]["Attributes"]["count"]) > 0


async def _values(stream: Stream) -> list[Any]:
    """The next whole lines; a line may come in pieces."""
    data = b""
    while not data.endswith(b"}\n"):
        part = await stream.part()
        assert part is not None
        data += part
    return decoded(data)
