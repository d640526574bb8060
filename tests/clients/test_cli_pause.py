"""`docker pause`."""

from __future__ import annotations

import time

import pytest

from tests.clients.cli import create, refusal, start
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_it_stops_the_clock_of_a_process(daemon: Daemon) -> None:
    """A paused one does nothing until it is resumed; it can be removed."""
    start(daemon, command=("sh", "-c", "while :; do date +%s%N; sleep 0.02; done"))
    assert daemon.docker("pause", "box").text == "box"
    assert "(Paused)" in daemon.docker("ps", "--format", "{{.Status}}").text
    before = daemon.docker("logs", "box").out
    time.sleep(0.2)
    assert daemon.docker("logs", "box").out == before
    daemon.docker("unpause", "box")
    wait_until(lambda: daemon.docker("logs", "box").out != before, "it goes on")
    daemon.docker("pause", "box")
    daemon.docker("rm", "-f", "box")


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
