"""kill -9 of the daemon: containers go on, and the next daemon knows the truth about each."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from tests.engine.many import (
    COUNTER,
    EXIT_7,
    all_facts,
    inspect,
    is_counted,
    log_lines,
    run,
    run_many,
    state,
    wait_exited,
)
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

COUNTERS = [f"count{n}" for n in range(14)]
LEAVERS = ["leave0", "leave1"]
EPHEMERAL = ["gone0", "gone1"]
STAYING = ["stay0", "stay1"]


def test_twenty_containers_outlive_it(fresh_daemon: Daemon) -> None:
    """All run on with pid, address and name, and lose no line; who left has its code and time."""
    daemon = fresh_daemon
    run_many(daemon, COUNTERS, COUNTER)
    run_many(daemon, LEAVERS + STAYING, EXIT_7, network="none")
    run_many(daemon, EPHEMERAL, EXIT_7, AutoRemove=True)
    containerd = daemon.containerd_pid
    before = all_facts(daemon, COUNTERS + STAYING)
    leaving = all_facts(daemon, LEAVERS + EPHEMERAL)
    time.sleep(0.5)

    daemon.kill()
    asked_at = time.time()
    for gone in leaving:
        os.kill(gone.pid, signal.SIGTERM)
    for gone in leaving:
        wait_until(partial(has_ended, gone.pid), "it ends")
    time.sleep(0.5)
    started_at = time.time()
    daemon.start()

    for name in LEAVERS:
        wait_exited(daemon, name)
    wait_until(lambda: len(daemon.container_ids()) == 18, "--rm is obeyed")
    assert all_facts(daemon, COUNTERS + STAYING) == before
    assert daemon.containerd_pid == containerd
    for name in LEAVERS:
        found = state(daemon, name)
        assert (found["Status"], found["ExitCode"]) == ("exited", 7)
        assert asked_at - 0.1 <= _seconds(found["FinishedAt"]) < started_at
    names = {c["Names"][0] for c in daemon.http("GET", "/containers/json?all=1").json()}
    assert names == {f"/{name}" for name in COUNTERS + LEAVERS + STAYING}

    _work(daemon, "count0")
    for name in COUNTERS:
        assert daemon.http("POST", f"/containers/{name}/kill").status == 204
        assert is_counted(log_lines(daemon, name)), name
    assert daemon.docker("stop", "-t", "5", "stay0").code == 0
    assert state(daemon, "stay0")["ExitCode"] == 7


def test_restart_policies_act_on_what_happened_meanwhile(fresh_daemon: Daemon) -> None:
    """`always` starts what ended while nobody looked, and counts on; `no` leaves it ended."""
    daemon = fresh_daemon
    run(daemon, "back", EXIT_7, RestartPolicy={"Name": "always"})
    run(daemon, "ended", EXIT_7)
    run(daemon, "stopped", EXIT_7, RestartPolicy={"Name": "unless-stopped"})
    assert daemon.http("POST", "/containers/stopped/stop?t=5").status == 204
    pids = [state(daemon, name)["Pid"] for name in ("back", "ended")]
    daemon.kill()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    daemon.start()
    wait_until(lambda: state(daemon, "back")["Pid"] not in (0, pids[0]), "it is back")
    assert state(daemon, "ended")["Status"] == "exited"
    assert state(daemon, "stopped")["Status"] == "exited"


def test_a_paused_container_is_still_paused(fresh_daemon: Daemon) -> None:
    """And goes on when it is told to."""
    daemon = fresh_daemon
    run(daemon, "ice", COUNTER)
    assert daemon.http("POST", "/containers/ice/pause").status == 204
    daemon.kill()
    daemon.start()
    wait_until(lambda: "adopted" in daemon.log_text(), "it is adopted")
    assert state(daemon, "ice")["Status"] == "paused"
    assert daemon.http("POST", "/containers/ice/unpause").status == 204
    assert daemon.docker("exec", "ice", "true").code == 0
    assert state(daemon, "ice")["Status"] == "running"


def test_three_hundred_stopped_and_twenty_running(fresh_daemon: Daemon) -> None:
    """The restore of many says how long it took; all are there with the first answer."""
    daemon = fresh_daemon
    run_many(daemon, [f"run{n}" for n in range(20)], COUNTER, network="none")
    for n in range(300):
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
        assert daemon.http("POST", f"/containers/create?name=idle{n}", body).status == 201
    daemon.kill()
    mark = len(daemon.log_text())
    began = time.monotonic()
    daemon.start()
    ping_s = time.monotonic() - began
    assert len(daemon.container_ids()) == 320
    wait_until(lambda: "containers restored" in daemon.log_text(since=mark), "all are restored")
    print(f"first ping after {ping_s:.2f} s, restored after {time.monotonic() - began:.2f} s")
    assert all(inspect(daemon, f"run{n}")["State"]["Running"] for n in range(20))


def has_ended(pid: int) -> bool:
    """A process that its shim has not buried yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _work(daemon: Daemon, name: str) -> None:
    """What people do with a container works on an adopted one."""
    assert daemon.docker("exec", name, "echo", "in").text == "in"
    with daemon.docker_process("attach", "--no-stdin", name) as attached:
        assert attached.stdout is not None
        first = int(attached.stdout.readline())
        assert int(attached.stdout.readline()) == first + 1
    with daemon.docker_process("logs", "-f", "--tail", "1", name) as following:
        assert following.stdout is not None
        first = int(following.stdout.readline())
        assert int(following.stdout.readline()) == first + 1


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()
