"""What must hold after any crash: each container is what it is said to be, and nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.containerd import find_shims
from services.containerd.process_config import ProcessConfig
from services.containers.image_points import snapshot_key
from tests.support.crashable import FaultableDaemon
from tests.support.daemon import Daemon

SETTLE_S = 90.0


def wait_true(daemon: FaultableDaemon, what: str) -> list[dict[str, Any]]:
    """Wait until the engine's word and the host agree; what it shows of its containers then."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        shown = inspect_all(daemon)
        complaints = untrue(daemon, shown)
        if not complaints:
            return shown
        assert time.monotonic() < deadline, f"{what}: {complaints}"
        time.sleep(0.03)


def inspect_all(daemon: Daemon) -> list[dict[str, Any]]:
    """All containers, inspected; those that go meanwhile are left out."""
    answers = [daemon.http("GET", f"/containers/{i}/json") for i in daemon.container_ids()]
    return [answer.json() for answer in answers if answer.status == 200]


def untrue(daemon: FaultableDaemon, shown: Sequence[dict[str, Any]]) -> list[str]:
    """Where the engine's word and the host's facts differ."""
    census = daemon.census()
    known = {c["Id"] for c in shown}
    alive = {c["Id"] for c in shown if c["State"]["Running"] and not c["State"]["Restarting"]}
    linked = {
        c["Id"]
        for c in shown
        if c["Id"] in alive and c["HostConfig"]["NetworkMode"] not in ("none", "host")
    }
    endpoints = {c["Id"]: _endpoints(c) for c in shown if c["Id"] in alive}
    links = sum(map(len, endpoints.values()))
    networks = daemon.http("GET", "/networks").json()
    own = {f"br-{n['Id'][:12]}" for n in networks if n["Name"] not in ("bridge", "host", "none")}
    shared = {
        c["Id"] for c in shown if c["Id"] in alive and c["HostConfig"]["IpcMode"] == "shareable"
    }
    config = ProcessConfig(data_root=daemon.data_root, exec_root=daemon.exec_root)
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    rootfs = [m for m in mounts if f"{daemon.exec_root}/" in m and "rootfs" in m]
    seen = {
        "tasks": (set(census["tasks"]), alive),
        "records": (set(census["records"]), alive),
        "snapshots": (set(census["snapshots"]), known | _image_mounts(shown)),
        "leases": (set(census["leases"]), set()),
        "runs": (set(census["runs"]), alive),
        "shims": (set(find_shims(config.address, "moby")), alive),
        "namespaces": (_names(daemon.exec_root / "netns"), linked),
        "shared memory": (_names(daemon.exec_root / "shm"), shared),
        "pipes": (_names(daemon.exec_root / "io") - _of_execs(shown), alive),
        "folders": (_names(daemon.data_root / "containers"), known),
        "places of mounts": (_names(daemon.exec_root / "mounts"), set()),
        "bridges": (set(daemon.bridge.networks()), own),
    }
    complaints = [
        f"{what}: too many {sorted(have - want)}, missing {sorted(want - have)}"
        for what, (have, want) in seen.items()
        if have != want
    ]
    counts = {
        "mounts": (len(rootfs), len(alive)),
        "links": (len(daemon.bridge.links()) + sum(map(_ports, own)), links),
        "addresses": (census["addresses"], links),
        "published ports": (len(daemon.bridge.published()), _published(shown)),
    }
    complaints += [f"{w}: {have} for {want}" for w, (have, want) in counts.items() if have != want]
    complaints += [
        f"inside {c['Name']}: {inside} for {endpoints[c['Id']]}"
        for c in shown
        if c["Id"] in linked and (inside := _inside(c)) != endpoints[c["Id"]]
    ]
    return complaints + [c for one in shown for c in _untrue_state(one, census)]


def _image_mounts(shown: Sequence[dict[str, Any]]) -> set[str]:
    """The snapshots of images that are mounted into containers."""
    return {
        snapshot_key(container["Id"], number)
        for container in shown
        for number, mount in enumerate(container["Mounts"])
        if mount["Type"] == "image"
    }


def _endpoints(shown: dict[str, Any]) -> set[str]:
    """The addresses that a container has by its record."""
    networks = shown["NetworkSettings"]["Networks"].values()
    return {one["IPAddress"] for one in networks if one["IPAddress"]}


def _inside(shown: dict[str, Any]) -> set[str]:
    """The addresses that a container's links have."""
    command = ["nsenter", "-t", str(shown["State"]["Pid"]), "-n", "ip", "-j", "-4", "address"]
    done = subprocess.run(command, check=False, capture_output=True)
    links = [link for link in json.loads(done.stdout or "[]") if link["ifname"] != "lo"]
    return {address["local"] for link in links for address in link["addr_info"]}


def _ports(bridge: str) -> int:
    return len(_names(Path("/sys/class/net") / bridge / "brif"))


def _published(shown: Sequence[dict[str, Any]]) -> int:
    """Those that the kernel leads: no container here has IPv6."""
    ports = [ends for c in shown for ends in c["NetworkSettings"]["Ports"].values()]
    return sum(":" not in end["HostIp"] for ends in ports for end in ends or ())


def _untrue_state(shown: dict[str, Any], census: dict[str, Any]) -> Iterator[str]:
    container_id, state = shown["Id"], shown["State"]
    if state["Status"] not in ("created", "running", "paused", "exited"):
        yield f"in between: {state}"
    if container_id not in census["tasks"]:
        return
    status, pid = census["tasks"][container_id]
    if status != state["Status"].upper() or pid != state["Pid"]:
        yield f"{state} is {status} with pid {pid}"
    cgroup = ""
    with suppress(OSError):
        cgroup = Path(f"/proc/{pid}/cgroup").read_text()
    if container_id not in cgroup:
        yield f"{state} has no process {pid}"


def actions(daemon: Daemon, name: str, since: float) -> list[str]:
    """What the events tell since then of all containers that ever had this name, in order."""
    answer = daemon.http("GET", f"/events?since={since:.6f}&until={time.time():.6f}")
    events = [event for event in answer.json_lines() if event["Type"] == "container"]
    ids = {e["Actor"]["ID"] for e in events if e["Actor"]["Attributes"]["name"] == name}
    return [event["Action"] for event in events if event["Actor"]["ID"] in ids]


def misordered(told: Sequence[str], status: str) -> str | None:
    """What is wrong with the events of a container that is now `status` ("" when it is gone).

    Each start, each death, the making and the end are told once, in the order of a life; with
    `--rm` several lives may have had one name.
    """
    life = [action for action in told if action in ("create", "start", "die", "destroy")]
    follows = {
        "": {"create"},
        "create": {"start", "destroy"},
        "start": {"die"},
        "die": {"start", "destroy"},
        "destroy": {"create"},
    }
    last = ""
    for action in life:
        if action not in follows[last]:
            return f"{action} after {last or 'nothing'} in {told}"
        last = action
    ends = {
        "": ("", "destroy"),
        "created": ("create",),
        "running": ("start",),
        "paused": ("start",),
        "exited": ("die",),
    }
    return None if last in ends[status] else f"{status or 'gone'} after {told}"


def _of_execs(shown: Sequence[dict[str, Any]]) -> set[str]:
    """The pipes of execs that run in containers that do."""
    return {
        f"exec.{container['Id']}.{exec_id}"
        for container in shown
        if container["State"]["Running"]
        for exec_id in container["ExecIDs"] or ()
    }


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
