"""A clock that is set, back and far ahead, under a daemon that works: nothing waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.many import COUNTER, EXIT_7, inspect, run, state, wait_exited, wait_trap
from tests.support.crashable import SkewedDaemon, skewed_daemon
from tests.support.daemon import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DAY_S = 86_400.0
JUMPS_S = (-DAY_S, 10 * 365 * DAY_S, 0.0)
HEALTH = ("--health-cmd", "true", "--health-interval", "100ms", "--health-start-period", "1h")


@pytest.fixture
def skewed() -> Iterator[SkewedDaemon]:
    """A daemon of the test's own, with a clock that can be set."""
    with skewed_daemon() as daemon:
        yield daemon
        daemon.set_clock(0.0)


def rename(daemon: SkewedDaemon) -> None:
    """Something that there is an event of."""
    daemon.docker("rename", "counts", "still")
    daemon.docker("rename", "still", "counts")


def wait_following(daemon: SkewedDaemon, told: Path) -> None:
    """Until the client that writes there is told of what happens."""

    def is_told() -> int:
        rename(daemon)
        return told.stat().st_size

    wait_until(is_told, "the events are followed", limit_s=30)


def next_line(client: subprocess.Popen[bytes]) -> bytes:
    """What a client that follows shows next; the test's own limit is its limit."""
    assert client.stdout is not None
    return client.stdout.readline()


def test_everything_goes_on_whatever_the_clock_says(skewed: SkewedDaemon) -> None:
    """Streams, health checks, restarts, stops with a grace, and a start of the daemon."""
    daemon = skewed
    run(daemon, "counts", COUNTER, network="none")
    run(daemon, "back", EXIT_7, network="none", RestartPolicy={"Name": "always"})
    daemon.docker("run", "-d", "--name", "well", "--network", "none", *HEALTH, "busybox", "sleep",
                  "1000")  # fmt: skip
    for jump_s in JUMPS_S:
        told = daemon.folder / "told"
        with (
            told.open("wb") as out,
            daemon.docker_process("logs", "-f", "--tail", "1", "counts") as logs,
            daemon.docker_process("events", "--filter", "event=rename", stdout=out) as events,
        ):
            wait_following(daemon, told)
            first = int(next_line(logs))
            daemon.set_clock(jump_s)
            assert int(next_line(logs)) == first + 1
            size_bytes = told.stat().st_size
            rename(daemon)
            wait_until(lambda: told.stat().st_size > size_bytes, "it is told", limit_s=30)  # noqa: B023
            for client in (logs, events):
                client.kill()
        _works(daemon)
    daemon.set_clock(-DAY_S)
    daemon.kill()
    daemon.start()
    wait_until(lambda: state(daemon, "counts")["Running"], "it is adopted", limit_s=30)
    _works(daemon)
    daemon.docker("stop", "-t", "1", "counts")  # it ignores SIGTERM
    assert state(daemon, "counts")["ExitCode"] == 137


def _works(daemon: SkewedDaemon) -> None:
    """What waits for a time, or measures one."""
    ran = daemon.docker("run", "--rm", "--network", "none", "busybox", "echo", "hi")
    assert ran.text == "hi"
    assert daemon.docker("exec", "counts", "echo", "in").text == "in"
    assert daemon.docker("stats", "--no-stream", "counts").code == 0
    assert daemon.docker("ps", "-a").code == 0

    pid = state(daemon, "back")["Pid"]
    wait_trap(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: state(daemon, "back")["Pid"] not in (0, pid), "it is back", limit_s=60)

    probed = _last_probe(daemon)
    wait_until(lambda: _last_probe(daemon) != probed, "it is probed", limit_s=60)
    assert inspect(daemon, "well")["State"]["Health"]["Status"] == "healthy"

    run(daemon, "ends", EXIT_7, network="none")
    wait_trap(state(daemon, "ends")["Pid"], signal.SIGTERM)
    assert daemon.http("POST", "/containers/ends/stop?t=20").status == 204
    wait_exited(daemon, "ends")
    assert state(daemon, "ends")["ExitCode"] == 7
    assert daemon.http("DELETE", "/containers/ends").status == 204


def _last_probe(daemon: SkewedDaemon) -> object:
    log = inspect(daemon, "well")["State"]["Health"]["Log"]
    return log[-1]["Start"] if log else None
