"""Many containers at once, by plain requests: what the crash tests look at before and after."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, wait_until

AT_ONCE = 8

COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
"""Numbered lines, for ever."""

EXIT_7 = "trap 'exit 7' TERM; while :; do sleep 0.05; done"
"""Exits with 7 when its process is sent SIGTERM, by whomever."""

_TRAP = re.compile(r"trap ('[^']*') ([A-Z0-9 ]+)(?:;|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What must not change while a container runs on."""

    id: str
    name: str
    pid: int
    started_at: str
    restarts: int
    address: str
    namespace: str


def create(
    daemon: Daemon, name: str, script: str, *, network: str = "bridge", **host: object
) -> str:
    """Make a container that runs a shell script; its id."""
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "HostConfig": {"NetworkMode": network, **host},
    }
    answer = daemon.http("POST", f"/containers/create?name={name}", body)
    assert answer.status == 201, answer
    return str(answer.json()["Id"])


def start(daemon: Daemon, name: str) -> None:
    """Start a container."""
    answer = daemon.http("POST", f"/containers/{name}/start")
    assert answer.status == 204, answer


def run(daemon: Daemon, name: str, script: str, *, network: str = "bridge", **host: object) -> str:
    """Make and start a container; its id. The traps with which its script begins are set by now."""
    container_id = create(daemon, name, script, network=network, **host)
    start(daemon, name)
    if script.startswith("trap "):
        wait_traps(state(daemon, name)["Pid"], script)
    return container_id


def run_many(daemon: Daemon, names: Iterable[str], script: str, **host: Any) -> None:
    """Make and start containers, several at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: run(daemon, name, script, **host), names))


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    """The container as the API shows it."""
    answer = daemon.http("GET", f"/containers/{name}/json")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


def state(daemon: Daemon, name: str) -> dict[str, Any]:
    """Its State."""
    found: dict[str, Any] = inspect(daemon, name)["State"]
    return found


def wait_exited(daemon: Daemon, name: str, *, limit_s: float = 90.0) -> None:
    """Wait until the API shows it as exited."""
    what = f"the exit of {name} is known"
    wait_until(lambda: state(daemon, name)["Status"] == "exited", what, limit_s=limit_s)


def wait_traps(pid: int, script: str) -> None:
    """Wait until a container's shell has set all traps of its script: it is deaf before."""
    for action, names in _TRAP.findall(script):
        for name in names.split():
            field = "SigIgn:" if action == "''" else "SigCgt:"
            wait_trap(pid, signal.Signals[f"SIG{name}"], field)


def wait_trap(pid: int, number: int, field: str = "SigCgt:") -> None:
    """Wait until a container's shell has set its trap: its first process is deaf before."""

    def is_set() -> bool:
        try:
            if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0"):
                return False  # still the runtime's
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True  # it has ended
        signals = status.partition(field)[2].split()[0]
        return bool(int(signals, 16) >> (number - 1) & 1)

    wait_until(is_set, "its trap is set")


def wait_gone(pid: int) -> None:
    """Wait until a process has ended, and its shim has buried it."""
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"process {pid} has ended")


def facts(daemon: Daemon, name: str) -> Facts:
    """What must not change while it runs."""
    seen = inspect(daemon, name)
    pid = seen["State"]["Pid"]
    networks = seen["NetworkSettings"]["Networks"]
    return Facts(
        id=seen["Id"],
        name=seen["Name"],
        pid=pid,
        started_at=seen["State"]["StartedAt"],
        restarts=seen["RestartCount"],
        address=networks.get("bridge", {}).get("IPAddress", ""),
        namespace=os.readlink(f"/proc/{pid}/ns/net"),
    )


def all_facts(daemon: Daemon, names: Sequence[str]) -> list[Facts]:
    """Of several."""
    return [facts(daemon, name) for name in names]


def log_lines(daemon: Daemon, name: str) -> list[str]:
    """All that the log has of standard output."""
    return daemon.docker("logs", name).out.decode().splitlines()


def is_counted(lines: Sequence[str]) -> bool:
    """Whether the lines are 1, 2, 3 ... without a gap and without a repetition."""
    return bool(lines) and list(lines) == [str(n + 1) for n in range(len(lines))]


def shim_pid(container_pid: int) -> int:
    """The pid of the shim above a container's first process."""
    with open(f"/proc/{container_pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
