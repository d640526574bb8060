"""`docker stats`, `docker update`, `docker container prune`, sizes: with the CLI and docker-py."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.services.api.openapi import require_definition
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
BUSY = ("sh", "-c", "while :; do :; done")


def run_detached(daemon: Daemon, *options: str, command: tuple[str, ...] = ("sleep", "60")) -> str:
    """Start a container that stays, and return its id."""
    return daemon.docker("run", "-d", *options, "busybox", *command).text


def percent(text: str) -> float:
    """The number of a percentage."""
    return float(text.removesuffix("%"))


# ── stats ────────────────────────────────────────────────────────────────────────────────────────


def test_stats_once_shows_the_limited_busy_loop(daemon: Daemon) -> None:
    """A loop held to half a CPU is shown as about half a CPU, memory with its limit."""
    run_detached(daemon, *NONE, "--name", "busy", "--cpus", "0.5", "-m", "64m", command=BUSY)
    # The first look at a container may fall into the throttled half of a period: any of a few.
    shown = [
        json.loads(daemon.docker("stats", "--no-stream", "--format", "{{json .}}", "busy").text)
        for _ in range(2)
    ]
    assert any(35.0 < percent(one["CPUPerc"]) < 65.0 for one in shown), shown
    assert shown[0]["Name"] == "busy"
    assert shown[0]["MemUsage"].endswith("/ 64MiB")
    assert shown[0]["PIDs"] == "1"
    assert shown[0]["NetIO"] == "0B / 0B"


def test_stats_streams_to_a_terminal_and_follows_containers(daemon: Daemon) -> None:
    """`docker stats` without names shows all that run, new ones too."""
    run_detached(daemon, *NONE, "--name", "first", "--cpus", "0.5", command=BUSY)
    with daemon.docker_process("stats", "--format", "{{.Name}} {{.CPUPerc}}") as stats:
        assert stats.stdout is not None
        seen: dict[str, float] = {}
        deadline = time.monotonic() + 20
        is_second_up = False
        while not (seen.get("first", 0) > 30 and "second" in seen):
            assert time.monotonic() < deadline, seen
            line = re.sub(r"\x1b\[\d*[A-Z]", "", stats.stdout.readline().decode())
            name, _, used = line.strip().partition(" ")
            if used.endswith("%") and "-" not in used:
                seen[name] = max(seen.get(name, 0.0), percent(used))
            if "first" in seen and not is_second_up:
                run_detached(daemon, *NONE, "--name", "second")
                is_second_up = True


def test_stats_answers_fit_the_definition(daemon: Daemon) -> None:
    """Once, one-shot, and of a container that does not run: the schema's members and no others."""
    definition = require_definition()
    running = run_detached(daemon)
    stopped = daemon.docker("create", *NONE, "busybox", "true").text
    primed = daemon.http("GET", f"/containers/{running}/stats?stream=0").json()
    one_shot = daemon.http("GET", f"/containers/{running}/stats?stream=0&one-shot=1").json()
    empty = daemon.http("GET", f"/containers/{stopped}/stats?stream=0").json()
    for answer in (primed, one_shot, empty):
        definition.validate("ContainerStats", 200, answer)
    assert primed["precpu_stats"]["system_cpu_usage"] < primed["cpu_stats"]["system_cpu_usage"]
    assert primed["preread"] < primed["read"]
    assert primed["networks"]["eth0"].keys() >= {"rx_bytes", "tx_dropped"}
    assert "lo" not in primed["networks"]
    assert "system_cpu_usage" not in one_shot["precpu_stats"]
    assert (empty["read"], empty["memory_stats"]) == ("0001-01-01T00:00:00Z", {})


def test_stats_refuses_a_stream_of_one(daemon: Daemon) -> None:
    """dockerd's words."""
    container = daemon.docker("create", *NONE, "busybox", "true").text
    answer = daemon.http("GET", f"/containers/{container}/stats?one-shot=1")
    assert answer.status == 400
    assert answer.json() == {"message": "cannot have stream=true and one-shot=true"}


def test_stats_of_a_container_on_the_host_have_no_networks(daemon: Daemon) -> None:
    """The host's interfaces are not the container's."""
    container = run_detached(daemon, "--network", "host")
    answer = daemon.http("GET", f"/containers/{container}/stats?stream=0&one-shot=1").json()
    assert "networks" not in answer
    assert answer["pids_stats"]["current"] == 1


def test_a_stats_stream_goes_on_through_a_stop_and_ends_with_the_removal(daemon: Daemon) -> None:
    """docker-py: full, then empty values while it does not run; the end once it is removed."""
    client = daemon.client()
    container = client.containers.run("busybox", ["sleep", "60"], detach=True, network_mode="none")
    stream = container.stats(decode=True)
    first, second = next(stream), next(stream)
    assert "system_cpu_usage" not in first["precpu_stats"]
    assert second["precpu_stats"] == first["cpu_stats"]
    container.kill()
    wait_until(lambda: next(stream)["pids_stats"] == {}, "the values are empty")
    container.remove()
    for late in stream:
        assert late["pids_stats"] == {}


# ── update ───────────────────────────────────────────────────────────────────────────────────────


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
    container = run_detached(daemon, *NONE, command=("sh", "-c", "sleep 1; exit 1"))
    daemon.docker("update", "--restart", "always", container)

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
    """A limit below what is in use, where the kernel cannot take it back."""
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


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────

WRITES_A_MEGABYTE = ("dd", "if=/dev/zero", "of=/file", "bs=1M", "count=1")
MEGABYTE = 1 << 20


def run_to_its_end(daemon: Daemon, *options: str, command: tuple[str, ...] = ("true",)) -> str:
    """Run a container that ends and stays; its id."""
    container = run_detached(daemon, *NONE, *options, command=command)
    daemon.docker("wait", container)
    return container


def test_sizes_are_what_was_written_and_what_is_below(daemon: Daemon) -> None:
    """In the list and in the inspect, when asked for, and as the definition has them."""
    definition = require_definition()
    writer = run_to_its_end(daemon, command=WRITES_A_MEGABYTE)
    daemon.docker("create", *NONE, "busybox")
    listed = daemon.http("GET", "/containers/json?all=1&size=1").json()
    definition.validate("ContainerList", 200, listed)
    inspected = daemon.http("GET", f"/containers/{writer}/json?size=1").json()
    definition.validate("ContainerInspect", 200, inspected)
    newer, older = listed
    assert MEGABYTE <= older["SizeRw"] < MEGABYTE + 100_000
    assert newer["SizeRw"] < 100_000
    assert newer["SizeRootFs"] - newer["SizeRw"] == older["SizeRootFs"] - older["SizeRw"] > MEGABYTE
    assert (inspected["SizeRw"], inspected["SizeRootFs"]) == (older["SizeRw"], older["SizeRootFs"])
    assert "SizeRw" not in daemon.http("GET", f"/containers/{writer}/json").json()
    assert "SizeRw" not in daemon.http("GET", "/containers/json?all=1").json()[0]


def test_the_cli_shows_sizes(daemon: Daemon) -> None:
    """`docker ps -s` and `docker inspect -s`."""
    writer = run_to_its_end(daemon, command=WRITES_A_MEGABYTE)
    shown = daemon.docker("ps", "-a", "-s", "--format", "{{.Size}}").text
    assert re.fullmatch(r"1\.0\dMB \(virtual [\d.]+MB\)", shown)
    written = daemon.docker("inspect", "-s", "--format", "{{.SizeRw}}", writer).text
    assert int(written) >= MEGABYTE


# ── prune ────────────────────────────────────────────────────────────────────────────────────────


def test_prune_takes_what_does_not_run(daemon: Daemon) -> None:
    """Stopped and never started ones go, running ones stay; the space is what was written."""
    stays = run_detached(daemon, *NONE)
    gone = {
        run_to_its_end(daemon, command=WRITES_A_MEGABYTE),
        daemon.docker("create", *NONE, "busybox").text,
    }
    pruned = daemon.client().containers.prune()
    require_definition().validate("ContainerPrune", 200, pruned)
    assert set(pruned["ContainersDeleted"]) == gone
    assert pruned["SpaceReclaimed"] >= MEGABYTE
    assert daemon.container_ids() == [stays]
    events = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    told = [event for event in events if event["Action"] == "prune"][-1]
    assert told["Type"] == "container"
    assert told["Actor"]["Attributes"] == {"reclaimed": str(pruned["SpaceReclaimed"])}


def test_prune_through_the_cli_with_filters(daemon: Daemon) -> None:
    """Labels to have and not to have, and an age."""
    plain = daemon.docker("create", *NONE, "busybox").text
    old = daemon.docker("create", *NONE, "--label", "old=1", "busybox").text
    kept = daemon.docker("create", *NONE, "--label", "old=1", "--label", "keep", "busybox").text
    prune = ("container", "prune", "-f", "--filter")
    assert "Deleted" not in daemon.docker(*prune, "until=1h").text
    ran = daemon.docker(*prune, "label=old", "--filter", "label!=keep").text
    assert old in ran
    assert "Total reclaimed space: " in ran
    assert set(daemon.container_ids()) == {plain, kept}
    daemon.docker(*prune, "until=0s")
    assert daemon.container_ids() == []


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"bogus": ["1"]}, "invalid filter 'bogus'"),
        ({"until": ["1h", "2h"]}, "more than one until filter specified"),
    ],
)
def test_prune_refuses_filters_that_it_does_not_know(
    daemon: Daemon, filters: dict[str, list[str]], words: str
) -> None:
    """Before it removes anything."""
    container = daemon.docker("create", *NONE, "busybox").text
    answer = daemon.http("POST", f"/containers/prune?filters={quote(json.dumps(filters))}")
    assert (answer.status, answer.json()) == (400, {"message": words})
    assert daemon.container_ids() == [container]
