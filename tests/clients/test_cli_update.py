"""`docker update`, and updates by docker-py and the API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cli import NONE, refusal
from tests.services.api.openapi import require_definition
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def run_detached(
    daemon: Daemon, *options: str, command: tuple[str, ...] = ("sleep", "1000")
) -> str:
    """Start a container that stays, and return its id."""
    return daemon.docker("run", "-d", *options, "busybox", *command).text


def kernel_says(daemon: Daemon, container: str, controller: str, file: str) -> str:
    """A file of a container's cgroup, of whichever version the host has."""
    pid = daemon.http("GET", f"/containers/{container}/json").json()["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            folder = Path("/sys/fs/cgroup") / controller
            return (folder / path.lstrip("/") / file).read_text().strip()
    pytest.skip("needs cgroup v1")


def host_config(daemon: Daemon, container: str) -> dict[str, Any]:
    """`HostConfig` of an inspect."""
    inspected: dict[str, Any] = daemon.http("GET", f"/containers/{container}/json").json()
    return dict(inspected["HostConfig"])


def test_update_of_a_running_container_reaches_the_kernel(daemon: Daemon) -> None:
    """Every limit at once: in the cgroup, in the inspect, and told by an event."""
    container = run_detached(daemon, *NONE, "-m", "32m")
    daemon.docker(
        "update", "-m", "48m", "--memory-swap", "96m", "--memory-reservation", "16m",
        "--cpus", "0.5", "--cpu-shares", "256", "--cpuset-cpus", "0", "--pids-limit", "50",
        container,
    )  # fmt: skip
    expected = {
        ("memory", "memory.limit_in_bytes"): str(48 << 20),
        ("memory", "memory.memsw.limit_in_bytes"): str(96 << 20),
        ("memory", "memory.soft_limit_in_bytes"): str(16 << 20),
        ("cpu", "cpu.cfs_quota_us"): "50000",
        ("cpu", "cpu.shares"): "256",
        ("cpuset", "cpuset.cpus"): "0",
        ("pids", "pids.max"): "50",
    }
    for (controller, file), value in expected.items():
        assert kernel_says(daemon, container, controller, file) == value, file
    host = host_config(daemon, container)
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (48 << 20, 96 << 20, 5 * 10**8)
    assert (host["CpuShares"], host["CpusetCpus"], host["PidsLimit"]) == (256, "0", 50)
    events = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    assert [e["Action"] for e in events if e["Actor"]["ID"] == container][-1] == "update"


def test_update_of_periods_and_nodes(daemon: Daemon) -> None:
    """--cpu-period with --cpu-quota instead of --cpus, --cpuset-mems, --memory by its long name."""
    container = run_detached(daemon, *NONE)
    daemon.docker(
        "update", "--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-mems", "0",
        "--memory", "64m", "--memory-swap", "-1", container,
    )  # fmt: skip
    assert kernel_says(daemon, container, "cpu", "cpu.cfs_period_us") == "50000"
    assert kernel_says(daemon, container, "cpu", "cpu.cfs_quota_us") == "25000"
    host = host_config(daemon, container)
    assert (host["CpusetMems"], host["Memory"]) == ("0", 64 << 20)
    said = refusal(daemon, "update", "--cpus", "1", container)
    assert "Nano CPUs cannot be updated as CPU Period has already been set" in said
    assert refusal(daemon, "update", "--cpus", "1", "nosuch") == "No such container: nosuch"


def test_update_with_one_limit_leaves_the_others(daemon: Daemon) -> None:
    """Also those that the kernel was told at the start; no limit of processes is -1 or 0."""
    container = run_detached(daemon, *NONE, "-m", "32m", "--pids-limit", "40", "--cpus", "1")
    daemon.docker("update", "--pids-limit", "-1", container)
    assert kernel_says(daemon, container, "pids", "pids.max") == "max"
    assert kernel_says(daemon, container, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert kernel_says(daemon, container, "cpu", "cpu.cfs_quota_us") == "100000"


def test_update_of_a_stopped_container_holds_at_its_start(daemon: Daemon) -> None:
    """docker-py; the answer fits the definition; a restart of the daemon forgets nothing."""
    client = daemon.client()
    container = client.containers.create("busybox", ["sleep", "60"], network_mode="none")
    answer = container.update(mem_limit="32m", memswap_limit="64m", cpu_shares=100)
    require_definition().validate("ContainerUpdate", 200, answer)
    container.start()
    assert kernel_says(daemon, container.id, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert kernel_says(daemon, container.id, "cpu", "cpu.shares") == "100"


def test_an_update_is_durable_before_its_answer(fresh_daemon: Daemon) -> None:
    """kill -9 right after: limits and policy are there, and the container runs within them."""
    container = run_detached(fresh_daemon, *NONE, "-m", "32m")
    fresh_daemon.docker("update", "-m", "40m", "--restart", "on-failure:3", container)
    fresh_daemon.kill()
    fresh_daemon.start()
    host = host_config(fresh_daemon, container)
    assert host["Memory"] == 40 << 20
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    limit = kernel_says(fresh_daemon, container, "memory", "memory.limit_in_bytes")
    assert limit == str(40 << 20)


def test_a_policy_that_is_updated_acts_on_the_run_that_goes_on(daemon: Daemon) -> None:
    """The container was started without one."""
    script = "until test -e /go; do sleep 0.05; done; exit 1"
    container = run_detached(daemon, *NONE, command=("sh", "-c", script))
    daemon.docker("update", "--restart", "always", container)
    daemon.docker("exec", container, "touch", "/go")

    def came_back() -> bool:
        inspected: dict[str, Any] = daemon.http("GET", f"/containers/{container}/json").json()
        return bool(inspected["RestartCount"] > 0)

    wait_until(came_back, "the container was restarted")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Memory": 1}, 400, "Minimum memory limit allowed is 6MB"),
        (
            {"Memory": 20_000_000, "MemorySwap": 10_000_000},
            400,
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"Memory": 900 << 20}, 409, "Memory limit should be smaller than already set memoryswap"),
        ({"CpuQuota": 5000}, 409, "CPU Quota cannot be updated as NanoCPUs has already been set"),
        ({"CpusetCpus": "4000"}, 400, "Requested CPUs are not available - requested 4000"),
        ({"RestartPolicy": {"Name": "bogus"}}, 400, "invalid restart policy"),
        ({"MemorySwap": 10_000_000}, 400, "Minimum memoryswap limit should be larger"),
    ],
)
def test_an_impossible_update_changes_nothing(
    daemon: Daemon, body: dict[str, Any], status: int, words: str
) -> None:
    """Refused in dockerd's words, by what was asked or by what the container has."""
    container = run_detached(daemon, *NONE, "-m", "64m", "--cpus", "0.5")
    before = host_config(daemon, container)
    answer = daemon.http("POST", f"/containers/{container}/update", body)
    assert answer.status == status, answer.body
    assert words in answer.json()["message"]
    assert host_config(daemon, container) == before


def test_what_the_kernel_refuses_is_not_recorded(daemon: Daemon) -> None:
    """A limit below what is in use, which version 1 of cgroups refuses; version 2 kills for it."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("needs cgroup v1")
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null; echo full; sleep 60"
    container = run_detached(
        daemon, *NONE, "-m", "64m", "--memory-swap", "64m", "--shm-size", "40m",
        command=("sh", "-c", script),
    )  # fmt: skip
    wait_until(lambda: daemon.docker("logs", container).text == "full", "memory is in use")
    body = {"Memory": 8 << 20, "MemorySwap": 8 << 20}
    answer = daemon.http("POST", f"/containers/{container}/update", body)
    assert answer.status == 500, answer.body
    assert answer.json()["message"].startswith(f"Cannot update container {container}: ")
    assert host_config(daemon, container)["Memory"] == 64 << 20


def test_a_container_that_removes_itself_gets_no_policy(daemon: Daemon) -> None:
    """dockerd's words, through the CLI."""
    container = run_detached(daemon, *NONE, "--rm")
    ran = daemon.docker("update", "--restart", "always", container, code=1)
    assert "because AutoRemove is enabled for the container" in ran.error_text
