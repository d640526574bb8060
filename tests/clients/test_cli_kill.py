"""`docker kill`."""

from __future__ import annotations

from functools import partial

import pytest

from tests.clients.cli import create, refusal, start, start_trapping, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_any_signal(daemon: Daemon) -> None:
    """--signal by name, with or without SIG, in any case, or by number; SIGKILL without one."""
    start_trapping(daemon, "trap 'echo usr' USR1")

    def heard(times: int) -> bool:
        return daemon.docker("logs", "box").text.count("usr") == times

    for number, name in enumerate(("USR1", "SIGUSR1", "10", "sigusr1"), start=1):
        assert daemon.docker("kill", "--signal", name, "box").text == "box"
        wait_until(partial(heard, number), "heard")
    daemon.docker("kill", "box")
    assert (state(daemon, "ExitCode"), state(daemon, "Status")) == ("137", "exited")


def test_a_paused_one_can_be_killed(daemon: Daemon) -> None:
    """It is resumed for it if need be."""
    start(daemon)
    daemon.docker("pause", "box")
    daemon.docker("kill", "box")
    wait_until(lambda: state(daemon, "Status") == "exited", "it has ended")


def test_refusals(daemon: Daemon) -> None:
    """dockerd's words and order: the signal is looked at first; one failure stops none."""
    still = create(daemon, name="still")
    start(daemon)
    assert refusal(daemon, "kill", "nosuch") == (
        "cannot kill container: nosuch: No such container: nosuch"
    )
    assert refusal(daemon, "kill", "still") == (
        f"cannot kill container: still: container {still} is not running"
    )
    for bad in ("BOGUS", "0", "99", "-1", "9x", "RTMIN+99", "9" * 5000):
        assert refusal(daemon, "kill", f"--signal={bad}", "nosuch") == f"invalid signal: {bad}"
    ran = daemon.docker("kill", "-s", "WINCH", "nosuch", "box", code=1)
    assert ran.text == "box"
    assert state(daemon, "Status") == "running"
