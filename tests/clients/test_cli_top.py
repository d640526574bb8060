"""`docker top`."""

from __future__ import annotations

import pytest

from tests.clients.cli import create, refusal, start, state, wait_command
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_its_processes_alone(daemon: Daemon) -> None:
    """The host's ps with the arguments that are given, cut down to the container's processes."""
    start(daemon)
    wait_command(daemon, "sleep 1000")
    titles, row = daemon.docker("top", "box").text.splitlines()
    assert titles.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row.endswith("sleep 1000")
    pid = state(daemon, "Pid")
    assert daemon.docker("top", "box", "-o", "pid").text.split() == ["PID", pid]
    assert daemon.docker("top", "box", "axo", "pid,comm").text.split()[2:] == [pid, "sleep"]
    daemon.docker("pause", "box")
    assert pid in daemon.docker("top", "box", "aux").text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-o comm", "couldn't find PID field in ps output"),
        ("--no-headers", "couldn't find PID field in ps output"),
        ("-o pid,args=PID", 'specifying "pid,args=PID" is not allowed'),
        ("-o bogus", 'ps: error: unknown user-defined format specifier "bogus"'),
        ("$(id)", "ps: error: garbage option"),
    ],
)
def test_arguments_that_are_none(daemon: Daemon, arguments: str, words: str) -> None:
    """ps's own first line, as dockerd 20.10 has it."""
    start(daemon)
    assert refusal(daemon, "top", "box", *arguments.split()) == words


def test_without_processes(daemon: Daemon) -> None:
    """Nothing to show, nothing to find."""
    still = create(daemon)
    assert refusal(daemon, "top", "box") == f"container {still} is not running"
    assert refusal(daemon, "top", "nosuch") == "No such container: nosuch"
