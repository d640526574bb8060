"""kill -9 of the daemon at random moments under load: afterwards everything adds up."""

from __future__ import annotations

import http.client
import os
import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.containerd.process_config import ProcessConfig
from tests.support.daemon import Daemon, wait_until
from tests.support.http import request

pytestmark = [pytest.mark.engine, pytest.mark.serial]

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
LENGTH_S = float(os.environ.get("CHAOS_LENGTH_S", "30"))
WORKERS = 4
SCRIPTS = {"short": ("exit 3", 3), "long": ("sleep 1000", 137), "chatty": ("seq 1 200; exit 4", 4)}


@dataclass(slots=True)
class Fate:
    """What is known of one container: `exists` None is not known, for no answer came."""

    kind: str
    exists: bool | None = None
    started: bool = False


@dataclass(slots=True)
class Load:
    """One client's seeded life; it notes every acknowledgement."""

    socket: Path
    number: int
    fates: dict[str, Fate] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `ended`."""
        choose = random.Random(SEED + self.number)
        while not self.ended.is_set():
            name = f"c{self.number}x{len(self.fates)}"
            self._live(name, choose)

    def _live(self, name: str, choose: random.Random) -> None:
        fate = self.fates[name] = Fate(choose.choice(sorted(SCRIPTS)))
        body = {
            "Image": "busybox",
            "Cmd": ["sh", "-c", SCRIPTS[fate.kind][0]],
            "HostConfig": {"NetworkMode": choose.choice(["none", "bridge"])},
        }
        fate.exists = self._ask("POST", f"/containers/create?name={name}", (201,), body)
        if not fate.exists:
            return
        fate.started = bool(self._ask("POST", f"/containers/{name}/start", (204, 304)))
        if choose.random() < 0.2:
            return
        time.sleep(choose.random() * 0.2)
        self._ask("POST", f"/containers/{name}/stop?t=0", (204, 304))
        if choose.random() < 0.7:
            gone = self._ask("DELETE", f"/containers/{name}?force=1", (204,))
            fate.exists = False if gone else None

    def _ask(self, method: str, path: str, wanted: tuple[int, ...], body: object = None) -> bool:
        """Whether it was acknowledged; False: there was no answer, or a refusal worth a wait."""
        try:
            answer = request(self.socket, method, path, body)
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            return False
        if answer.status not in (*wanted, 404, 409, 500, 503):
            self.complaints.append(f"{method} {path}: {answer}")
        return answer.status in wanted


def test_nothing_acknowledged_is_lost_and_nothing_is_left_over(fresh_daemon: Daemon) -> None:
    """Every container is there or gone as was said; containerd and the host have no more."""
    daemon = fresh_daemon
    loads = [Load(daemon.socket, n) for n in range(WORKERS)]
    threads = [threading.Thread(target=load.run) for load in loads]
    for thread in threads:
        thread.start()
    choose = random.Random(SEED)
    until = time.monotonic() + LENGTH_S
    while time.monotonic() < until:
        time.sleep(0.2 + 2.5 * choose.random())
        daemon.kill()
        daemon.start()
    for load in loads:
        load.ended.set()
    for thread in threads:
        thread.join()
    daemon.kill()
    mark = len(daemon.log_text())
    daemon.start()
    wait_until(lambda: "containers restored" in daemon.log_text(since=mark), "all is restored")
    time.sleep(1.0)
    complaints = [complaint for load in loads for complaint in load.complaints]
    fates = {name: fate for load in loads for name, fate in load.fates.items()}
    print(f"{len(fates)} containers")
    complaints += _check_fates(daemon, fates) + _check_host(daemon)
    assert not complaints, complaints


def _check_fates(daemon: Daemon, fates: dict[str, Fate]) -> list[str]:
    shown = {c["Names"][0][1:]: c for c in daemon.http("GET", "/containers/json?all=1").json()}
    complaints = []
    for name, fate in fates.items():
        if fate.exists is not None and fate.exists != (name in shown) and fate.exists:
            complaints.append(f"{name} is lost: {fate}")
        if fate.exists is False and fate.started and name in shown:
            complaints.append(f"{name} is back: {fate}")
        if name not in shown:
            continue
        state = daemon.http("GET", f"/containers/{name}/json").json()["State"]
        wanted = (SCRIPTS[fate.kind][1], 137)  # it may have been stopped before its own end
        if state["Status"] == "exited" and state["ExitCode"] not in wanted:
            complaints.append(f"{name} has a wrong code: {fate} {state}")
        if fate.started and state["Status"] == "created":
            complaints.append(f"{name} was started: {fate} {state}")
        if state["Status"] not in ("created", "running", "exited"):
            complaints.append(f"{name} is in between: {state}")
    return complaints


def _check_host(daemon: Daemon) -> list[str]:
    found = [daemon.http("GET", f"/containers/{i}/json").json() for i in daemon.container_ids()]
    known = {c["Id"] for c in found}
    alive = {c["Id"] for c in found if c["State"]["Running"]}
    linked = {c["Id"] for c in found if c["Id"] in alive and c["NetworkSettings"]["Networks"]}
    linked = {
        c["Id"] for c in found if c["Id"] in linked and c["HostConfig"]["NetworkMode"] == "bridge"
    }
    snapshots = {
        line.split()[0] for line in _ctr(daemon, "snapshots", "ls") if line.split()[-1] == "Active"
    }
    tasks = {line.split()[0] for line in _ctr(daemon, "tasks", "ls") if "RUNNING" in line}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    rootfs = [line for line in mounts if f"{daemon.exec_root}/" in line and "rootfs" in line]
    seen = {
        "tasks": (tasks, alive),
        "all tasks": (set(map(_first, _ctr(daemon, "tasks", "ls"))), alive),
        "containerd containers": (set(map(_first, _ctr(daemon, "containers", "ls"))), alive),
        "snapshots": (snapshots, known),
        "leases": (set(map(_first, _ctr(daemon, "leases", "ls"))), set()),
        "namespaces": (_names(daemon.exec_root / "netns"), linked),
        "streams": (_names(daemon.exec_root / "io"), alive),
        "folders": (_names(daemon.data_root / "containers"), known),
    }
    complaints = [
        f"{what}: too many {sorted(have - want)}, missing {sorted(want - have)}"
        for what, (have, want) in seen.items()
        if have != want
    ]
    for what, have in (("mounts", len(rootfs)), ("shims", len(_shims(daemon)))):
        if have != len(alive):
            complaints.append(f"{what}: {have} for {len(alive)} containers")
    if len(daemon.bridge.links()) != len(linked):
        complaints.append(f"links: {daemon.bridge.links()} for {len(linked)}")
    return complaints


def _ctr(daemon: Daemon, *command: str) -> list[str]:
    config = ProcessConfig(data_root=daemon.data_root, exec_root=daemon.exec_root)
    ran = subprocess.run(
        ["ctr", "--address", str(config.address), "--namespace", "moby", *command],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return ran.stdout.splitlines()[1:]


def _first(line: str) -> str:
    return line.split()[0]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _shims(daemon: Daemon) -> list[str]:
    config = ProcessConfig(data_root=daemon.data_root, exec_root=daemon.exec_root)
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_shim = command[0].endswith(b"containerd-shim-runc-v2")
        if is_shim and os.fsencode(config.address) in command:
            found.append(entry.name)
    return found
