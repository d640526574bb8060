"""A full disk under the data folder: clear refusals, nothing half made, all is well afterwards."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.engine.many import EXIT_7, create, log_lines, run, state, wait_exited, wait_trap
from tests.support.daemon import Daemon, require_engine, wait_until
from tests.support.leftovers import Bridge

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DISK_MB = 64
LOOP = "while :; do sleep 0.05; done"
WRITES_MUCH = (
    "trap 'seq 1 60000; touch /dev/shm/done' USR2; trap 'echo after' USR1; echo ready; " + LOOP
)
MISSED = re.compile(rb"\[(\d+) bytes of output could not be logged here\]")


@pytest.fixture
def small() -> Iterator[Daemon]:
    """A daemon whose data folder is a disk of its own, and a small one."""
    require_engine()
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    for name in ("config", "data"):
        (folder / name).mkdir()
    (folder / "daemon.json").write_text("{}")
    data = str(folder / "data")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", data]
    subprocess.run(mount, check=True)
    try:
        daemon = Daemon(folder=folder, bridge=Bridge.make())
        try:
            daemon.start()
            daemon.load_image()
            yield daemon
        finally:
            daemon.close()
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)
        shutil.rmtree(folder)


def fill(daemon: Daemon) -> Path:
    """Leave not a byte; the file that holds them all."""
    path = daemon.data_root / "fill"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def refused(daemon: Daemon, method: str, path: str, body: object = None) -> bool:
    """Whether the disk stood in the way, which the answer then says; else it was carried out."""
    answer = daemon.http(method, path, body)
    if answer.status < 400:
        return False
    assert answer.status == 500, answer
    assert any(word in answer.message.lower() for word in ("space", "disk is full")), answer
    return True


def is_accounted_for(daemon: Daemon, name: str, written: list[object]) -> bool:
    """Whether "ready" and what was written then is in the log, in order, or told of as missing.

    There must be some of both.
    """
    shown = daemon.docker("logs", name)
    lines = [str(one) for one in ("ready", *written)]
    rest = iter(lines)
    assert all(line in rest for line in shown.out.decode().splitlines())
    lost = sum(int(size) for size in MISSED.findall(shown.err))
    return 0 < lost == sum(len(line) + 1 for line in lines) - len(shown.out)


def test_what_needs_room_is_refused_and_leaves_nothing(small: Daemon) -> None:
    """create, start, exec; what runs goes on, can be looked at, and can be ended."""
    daemon = small
    run(daemon, "runs", EXIT_7)
    create(daemon, "idle", EXIT_7)
    before = sorted(daemon.container_ids())
    filler = fill(daemon)
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    made = [not refused(daemon, "POST", f"/containers/create?name=n{n}", body) for n in range(3)]
    assert not all(made)
    started = not refused(daemon, "POST", "/containers/idle/start")
    execs = [refused(daemon, "POST", "/containers/runs/exec", {"Cmd": ["true"]}) for _ in range(3)]
    assert daemon.docker("logs", "runs").out == b""
    assert state(daemon, "runs")["Status"] == "running"
    assert state(daemon, "idle")["Status"] == ("running" if started else "created")
    assert len(daemon.container_ids()) == len(before) + sum(made)

    daemon.kill()  # what it finds at its start is not more than it had said
    filler.unlink()
    daemon.start()
    assert len(daemon.container_ids()) == len(before) + sum(made)
    assert len(list((daemon.data_root / "containers").iterdir())) == len(before) + sum(made)
    print(made, started, execs)
    daemon.docker("start", "idle")
    assert daemon.docker("exec", "idle", "echo", "in").text == "in"
    assert daemon.docker("run", "--rm", "--network", "none", "busybox", "echo", "hi").text == "hi"
    assert daemon.http("POST", "/containers/runs/stop?t=5").status == 204
    assert state(daemon, "runs")["ExitCode"] == 7


def test_output_that_finds_no_room_is_missed_in_its_place(small: Daemon) -> None:
    """The container goes on; its log says how much is missing, and goes on when there is room."""
    daemon = small
    container_id = run(daemon, "chatty", WRITES_MUCH, network="none")
    pid = state(daemon, "chatty")["Pid"]
    wait_until(lambda: log_lines(daemon, "chatty") == ["ready"], "it has begun", limit_s=30)
    filler = fill(daemon)
    os.kill(pid, signal.SIGUSR2)
    done = Path(f"/proc/{pid}/root/dev/shm/done")
    wait_until(done.exists, "it goes on", limit_s=30)
    assert state(daemon, "chatty")["Status"] == "running"
    assert len(log_lines(daemon, "chatty")) < 60_000
    filler.unlink()
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: log_lines(daemon, "chatty")[-1] == "after", "the log goes on", limit_s=30)
    assert is_accounted_for(daemon, "chatty", [*range(1, 60_001), "after"])
    assert daemon.http("DELETE", f"/containers/{container_id}?force=1").status == 204


def test_output_before_an_end_without_room_is_missed_too(small: Daemon) -> None:
    """The log says how much is missing though nothing follows, and before there is room."""
    daemon = small
    run(daemon, "last", f"{WRITES_MUCH[: -len(LOOP)]}trap 'seq 70000 79999; exit 7' TERM; {LOOP}")
    pid = state(daemon, "last")["Pid"]
    wait_trap(pid, signal.SIGTERM)
    filler = fill(daemon)
    os.kill(pid, signal.SIGUSR2)
    wait_until(Path(f"/proc/{pid}/root/dev/shm/done").exists, "it goes on", limit_s=30)
    daemon.kill()  # which costs neither the lines that are there nor the count of the others
    daemon.start()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}/cwd").exists(), "it has ended", limit_s=30)
    written = [*range(1, 60_001), *range(70_000, 80_000)]
    told = partial(is_accounted_for, daemon, "last", written)
    wait_until(told, "all is there or told of", limit_s=30)
    filler.unlink()
    wait_exited(daemon, "last")
    assert state(daemon, "last")["ExitCode"] == 7
    daemon.restart()
    assert told()


def test_an_end_without_room_is_recorded_when_there_is_room(small: Daemon) -> None:
    """With its true code; the daemon goes on meanwhile, and survives a kill -9 then."""
    daemon = small
    run(daemon, "one", EXIT_7, network="none")
    run(daemon, "two", EXIT_7, network="none")
    pids = [state(daemon, name)["Pid"] for name in ("one", "two")]
    for pid in pids:
        wait_trap(pid, signal.SIGTERM)
    filler = fill(daemon)
    os.kill(pids[0], signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pids[0]}/cwd").exists(), "it has ended", limit_s=30)
    assert daemon.http("GET", "/_ping").status == 200
    daemon.kill()
    os.kill(pids[1], signal.SIGTERM)
    daemon.start()
    assert daemon.http("GET", "/containers/json?all=1").status == 200
    filler.unlink()
    for name in ("one", "two"):
        wait_exited(daemon, name)
        assert state(daemon, name)["ExitCode"] == 7


def test_what_runs_can_be_stopped_and_removed_without_room(small: Daemon) -> None:
    """Stop, kill and rm make room, so they need none; and the log of it all is there."""
    daemon = small
    for name in ("stops", "goes", "dies"):
        run(daemon, name, EXIT_7, network="none")
        wait_trap(state(daemon, name)["Pid"], signal.SIGTERM)
    filler = fill(daemon)
    assert daemon.http("POST", "/containers/stops/stop?t=5").status == 204
    assert state(daemon, "stops")["ExitCode"] == 7
    assert daemon.http("POST", "/containers/dies/kill").status == 204
    assert state(daemon, "dies")["ExitCode"] == 137
    assert daemon.http("DELETE", "/containers/goes?force=1").status == 204
    assert daemon.http("DELETE", "/containers/stops").status == 204
    daemon.restart()  # and a daemon can begin on a disk that is full
    assert [name for name in ("stops", "goes") if _is_there(daemon, name)] == []
    assert daemon.http("DELETE", "/containers/dies").status == 204
    filler.unlink()
    told = daemon.http("GET", f"/events?since=0&until={time.time():.9f}").body
    assert told.count(b'"Action":"destroy"') == 3


def _is_there(daemon: Daemon, name: str) -> bool:
    return daemon.http("GET", f"/containers/{name}/json").status == 200
