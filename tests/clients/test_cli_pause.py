"""`docker pause`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.clients.cli import create, refusal, start
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_it_stops_the_clock_of_a_process(daemon: Daemon) -> None:
    """A paused one does nothing until it is resumed; it can be removed."""
    start(
        daemon,
        command=("sh", "-c", "while :; do read up _ </proc/uptime; echo $up; sleep 0.02; done"),
    )

    def told() -> list[float]:
        return [float(line) for line in daemon.docker("logs", "box").text.split()]

    wait_until(told, "it has begun")
    assert daemon.docker("pause", "box").text == "box"
    paused_at = uptime_s()
    assert "(Paused)" in daemon.docker("ps", "--format", "{{.Status}}").text
    time.sleep(0.2)
    resumed_at = uptime_s()
    daemon.docker("unpause", "box")
    wait_until(lambda: told()[-1] > resumed_at, "it goes on")
    # By its own words: what it had said before may come to be logged after.
    assert not [at for at in told() if paused_at < at < resumed_at]
    daemon.docker("pause", "box")
    daemon.docker("rm", "-f", "box")


def uptime_s() -> float:
    """In hundredths; busybox's date has but seconds."""
    return float(Path("/proc/uptime").read_text().split()[0])


def test_refusals(daemon: Daemon) -> None:
    """Of what does not run or is paused; what a paused one refuses."""
    box, still = start(daemon), create(daemon, name="still")
    daemon.docker("pause", "box")
    assert refusal(daemon, "pause", "box") == f"container {box} is already paused"
    assert refusal(daemon, "pause", "nosuch", "still").splitlines() == [
        "No such container: nosuch",
        f"container {still} is not running",
    ]
    assert "is paused, unpause the container before exec" in refusal(daemon, "exec", "box", "true")
    assert "paused container, unpause it first" in refusal(daemon, "attach", "box")
    assert "cannot start a paused container" in refusal(daemon, "start", "box")
