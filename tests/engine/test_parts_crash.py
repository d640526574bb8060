"""A part that crashes is restarted alone: nothing else begins anew, nobody else's stream ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.engine.many import COUNTER, facts, is_counted, run
from tests.support.crashable import CrashableDaemon, crashable_daemon
from tests.support.daemon import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

PARTS = [
    "root/reports/log",
    "root/reports/history",
    "root/reports/lag",
    "root/reports/waits",
    "root/containerd/connection",
    "root/store/database",
    "root/events/bus",
    "root/events/stream",
    "root/engine/images",
    "root/engine/firewall/helper",
    "root/engine/proxy",
    "root/engine/networks",
    "root/engine/dns",
    "root/engine/keeper",
    "root/engine/packer",
    "root/engine/containers/restore",
    "root/faces/metrics",
]
OF_A_RUN = ["pump", "task"]


@pytest.fixture(scope="module")
def crashable() -> Iterator[CrashableDaemon]:
    """One daemon with two containers that count, for all of this module."""
    with crashable_daemon("--metrics-addr", "127.0.0.1:0") as daemon:
        run(daemon, "one", COUNTER)
        run(daemon, "two", COUNTER)
        yield daemon


@contextmanager
def streams(daemon: CrashableDaemon) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """What people leave open: each must still be there afterwards, and whole.

    The events go to a file, so that the test can see how far they are.
    """
    wait_until(lambda: _listeners(daemon) == 0, "the listeners of other tests have gone")
    commands = {
        "logs": ("logs", "-f", "--tail", "0", "one"),
        "attach": ("attach", "--no-stdin", "--sig-proxy=false", "one"),
        "exec": ("exec", "-i", "one", "cat"),
    }
    with ExitStack() as stack, told_file(daemon).open("wb") as told:
        events = stack.enter_context(daemon.docker_process("events", stdout=told))
        opened = {"events": events} | {
            name: stack.enter_context(daemon.docker_process(*command))
            for name, command in commands.items()
        }
        echo = opened["exec"].stdin
        assert echo is not None
        echo.write(b"begun\n")
        echo.flush()
        for name in ("logs", "attach", "exec"):
            output = opened[name].stdout
            assert output is not None
            output.readline()
        wait_until(lambda: _listeners(daemon) > 0, "the events are followed")
        yield opened


def told_file(daemon: CrashableDaemon) -> Path:
    """What the client that follows the events has said."""
    return daemon.folder / "told"


def _listeners(daemon: CrashableDaemon) -> int:
    return int(daemon.http("GET", "/info").json()["NEventsListener"])


def restarts(daemon: CrashableDaemon) -> dict[str, int]:
    """How often each part was restarted; without execs, which come and go."""
    return {path: count for path, (_, count) in daemon.tree().items() if "/exec-" not in path}


def crash_alone(daemon: CrashableDaemon, path: str) -> None:
    """Crash a part and see that it alone is restarted, and that all streams live on."""
    unharmed = facts(daemon, "one"), facts(daemon, "two"), daemon.containerd_pid
    with streams(daemon) as opened:
        before = restarts(daemon)
        daemon.crash(path)
        restarted = ("running", before[path] + 1)
        wait_until(lambda: daemon.tree().get(path) == restarted, "it restarts")
        assert restarts(daemon) == before | {path: before[path] + 1}
        assert daemon.docker("exec", "two", "echo", "in").text == "in"
        time.sleep(0.2)
        assert {name: stream.poll() for name, stream in opened.items()} == dict.fromkeys(opened)
        _streams_are_whole(daemon, opened)
    assert (facts(daemon, "one"), facts(daemon, "two"), daemon.containerd_pid) == unharmed


def _streams_are_whole(daemon: CrashableDaemon, opened: dict[str, subprocess.Popen[bytes]]) -> None:
    out, _ = opened["exec"].communicate(b"ping", timeout=60)
    assert out == b"ping"
    daemon.docker("rename", "two", "second")
    daemon.docker("rename", "second", "two")

    def told() -> int:
        return told_file(daemon).read_bytes().count(b"rename")

    wait_until(lambda: told() >= 2, "both are told")
    time.sleep(0.2)
    for client in opened.values():
        client.kill()
    assert told() == 2
    for name in ("logs", "attach"):
        seen, _ = opened[name].communicate(timeout=60)
        lines = [int(line) for line in seen.split()]
        assert lines == list(range(lines[0], lines[0] + len(lines))), name


@pytest.mark.parametrize("path", PARTS)
def test_a_part_restarts_alone(crashable: CrashableDaemon, path: str) -> None:
    """One of the daemon's own parts."""
    crash_alone(crashable, path)


@pytest.mark.parametrize("part", OF_A_RUN)
def test_a_part_of_a_container_restarts_alone(crashable: CrashableDaemon, part: str) -> None:
    """Its log pump, its task child: no line is lost, the container does not notice."""
    container_id = facts(crashable, "one").id
    crash_alone(crashable, f"root/engine/containers/running/{container_id}/{part}")


def test_a_crashed_exec_ends_alone(crashable: CrashableDaemon) -> None:
    """An exec is not restarted; its container and the other execs go on."""
    daemon = crashable
    run_path = f"root/engine/containers/running/{facts(daemon, 'one').id}/execs/"
    wait_until(lambda: not any(run_path in path for path in daemon.tree()), "there is none")
    with daemon.docker_process("exec", "one", "sleep", "100") as first:
        wait_until(lambda: any(run_path in path for path in daemon.tree()), "it runs")
        (path,) = (path for path in daemon.tree() if path.startswith(run_path))
        with daemon.docker_process("exec", "-i", "one", "cat") as second:
            wait_until(lambda: sum(p.startswith(run_path) for p in daemon.tree()) == 2, "both run")
            before = restarts(daemon)
            daemon.crash(path)
            assert first.wait(60) != 0
            out, _ = second.communicate(b"ping", timeout=60)
    assert out == b"ping"
    assert restarts(daemon) == before


def test_the_api_server_restarts_alone(crashable: CrashableDaemon) -> None:
    """Its own streams end; nothing below it is touched, and it answers again at once."""
    daemon = crashable
    unharmed = facts(daemon, "one"), facts(daemon, "two")
    before = restarts(daemon)
    path = "root/faces/api/server-0"
    daemon.crash(path)
    assert daemon.http("GET", "/_ping").status == 200
    assert restarts(daemon) == before | {path: before[path] + 1}
    assert (facts(daemon, "one"), facts(daemon, "two")) == unharmed


@pytest.mark.parametrize("path", ["containers", "containers/running", "containers/running/ID"])
def test_supervisors_of_containers_leave_them_running(
    crashable: CrashableDaemon, path: str
) -> None:
    """When a supervisor above a container fails, the container is adopted again, not stopped."""
    daemon = crashable
    unharmed = facts(daemon, "one"), facts(daemon, "two")
    daemon.crash("root/engine/" + path.replace("ID", unharmed[0].id))
    task = f"root/engine/containers/running/{unharmed[0].id}/task"
    wait_until(lambda: daemon.tree().get(task, ("",))[0] == "running", "it is adopted")
    assert (facts(daemon, "one"), facts(daemon, "two")) == unharmed
    assert daemon.docker("exec", "one", "echo", "in").text == "in"


def test_no_line_was_lost_or_repeated(crashable: CrashableDaemon) -> None:
    """After all these crashes the logs still have every line once, and a stop works.

    Others may come after this one: they find new containers.
    """
    for name in ("one", "two"):
        crashable.docker("stop", "-t", "0", name)
        assert is_counted(crashable.docker("logs", name).out.decode().splitlines())
        crashable.docker("rm", name)
        run(crashable, name, COUNTER)
