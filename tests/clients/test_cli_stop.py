"""`docker stop`."""

from __future__ import annotations

import time

import pytest

from tests.clients.cli import create, refusal, start, start_trapping, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_it_asks_first(daemon: Daemon) -> None:
    """SIGTERM reaches a handler; the exit code is the handler's."""
    start_trapping(daemon, "trap 'exit 9' TERM")
    assert daemon.docker("stop", "box").text == "box"
    assert (state(daemon, "ExitCode"), state(daemon, "Status")) == ("9", "exited")


def test_it_insists(daemon: Daemon) -> None:
    """One that does not listen is killed when --timeout is over; the container has one of its own
    and a signal of its own."""
    start_trapping(daemon, "trap '' TERM")
    daemon.docker("stop", "--timeout", "1", "box")
    assert state(daemon, "ExitCode") == "137"
    assert daemon.docker("stop", "box").text == "box"  # already so
    own = ("--stop-timeout", "30", "--stop-signal", "USR2")
    start_trapping(daemon, "trap 'exit 7' USR2", *own, name="own")
    daemon.docker("stop", "own")
    assert state(daemon, "ExitCode", "own") == "7"


def test_with_another_signal(daemon: Daemon) -> None:
    """--signal instead of the container's."""
    start(daemon)
    daemon.docker("stop", "--signal", "KILL", "box")
    assert state(daemon, "ExitCode") == "137"


def test_refusals(daemon: Daemon) -> None:
    """Unknown containers and signals; one failure stops none."""
    create(daemon, name="still")
    start(daemon)
    assert refusal(daemon, "stop", "-s", "BOGUS", "box") == "invalid signal: BOGUS"
    ran = daemon.docker("stop", "-t", "0", "nosuch", "still", "box", code=1)
    assert ran.text.split() == ["still", "box"]
    assert ran.error_text == "Error response from daemon: No such container: nosuch"


def test_it_goes_on_when_its_client_leaves(daemon: Daemon) -> None:
    """Ctrl-C in `docker stop` ends the waiting; the container is stopped all the same."""
    start_trapping(daemon, "trap '' TERM")
    with daemon.docker_process("stop", "-t", "1", "box") as process:
        time.sleep(0.3)  # the request has left; nothing tells when
        process.kill()
    wait_until(lambda: state(daemon, "Status") == "exited", "it was stopped")
    assert state(daemon, "ExitCode") == "137"
