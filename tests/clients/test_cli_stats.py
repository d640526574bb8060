"""`docker stats`, and stats by docker-py and the API."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.clients.cli import NONE, create, refusal, wait_command
from tests.services.api.openapi import require_definition
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

BUSY = ("sh", "-c", "while :; do :; done")


def run_detached(
    daemon: Daemon, *options: str, command: tuple[str, ...] = ("sleep", "1000")
) -> str:
    """Start a container that stays, and return its id."""
    return daemon.docker("run", "-d", *options, "busybox", *command).text


def percent(text: str) -> float:
    """The number of a percentage."""
    return float(text.removesuffix("%"))


def test_stats_once_shows_the_limited_busy_loop(daemon: Daemon) -> None:
    """A loop held to half a CPU is shown as no more than that, memory with its limit."""
    run_detached(daemon, *NONE, "--name", "busy", "--cpus", "0.5", "-m", "64m", command=BUSY)
    wait_command(daemon, " ".join(BUSY), "busy")
    shown = [
        json.loads(daemon.docker("stats", "--no-stream", "--format", "{{json .}}", "busy").text)
        for _ in range(2)
    ]
    # How much of its half it gets is for the other processes of the machine to say.
    assert all(0.0 <= percent(one["CPUPerc"]) < 95.0 for one in shown), shown
    assert any(percent(one["CPUPerc"]) > 0.0 for one in shown), shown
    assert shown[0]["Name"] == "busy"
    assert shown[0]["MemUsage"].endswith("/ 64MiB")
    assert shown[0]["PIDs"] == "1"
    assert shown[0]["NetIO"] == "0B / 0B"


def test_stats_of_all(daemon: Daemon) -> None:
    """--all shows what does not run too, with nothing used; --no-trunc the whole ids."""
    running = run_detached(daemon, *NONE, "--name", "up")
    still = create(daemon, name="still")
    command = ("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}")
    assert [line.split()[0] for line in daemon.docker(*command).text.splitlines()] == [running]
    lines = daemon.docker(*command, "--all").text.splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert shown.keys() == {running, still}
    assert shown[still] == "0B / 0B"
    assert "CPU %" in daemon.docker("stats", "--no-stream", "up").text
    assert refusal(daemon, "stats", "--no-stream", "nosuch") == "No such container: nosuch"


def test_stats_streams_to_a_terminal_and_follows_containers(daemon: Daemon) -> None:
    """`docker stats` without names shows all that run, new ones too."""
    run_detached(daemon, *NONE, "--name", "first", "--cpus", "0.5", command=BUSY)
    with daemon.docker_process("stats", "--format", "{{.Name}} {{.CPUPerc}}") as stats:
        assert stats.stdout is not None
        seen: dict[str, float] = {}
        deadline = time.monotonic() + 60
        is_second_up = False
        while not (seen.get("first", 0) > 0 and "second" in seen):
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
    wait_command(daemon, "sleep 1000", container)
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
