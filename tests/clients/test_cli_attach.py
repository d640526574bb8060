"""`docker attach`. Several at a time: test_logs.py; on terminals: test_terminal.py."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.clients.cli import create, refusal, start, start_trapping, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

ECHOES = ("sh", "-c", "while read l; do test $l = bye && exit 4; echo got $l; done")


def attaches(daemon: Daemon) -> int:
    """How many have attached so far: a client tells nobody when it has."""
    events = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    return sum(event["Action"] == "attach" for event in events)


@contextmanager
def attached(daemon: Daemon, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """An attached client, from the moment at which the engine knows of it."""
    before = attaches(daemon)
    with daemon.docker_process("attach", *options, "box") as process:
        wait_until(lambda: attaches(daemon) > before, "attached")
        yield process


def type_line(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Into the client's input, which stays open."""
    assert process.stdin is not None
    process.stdin.write(line + b"\n")
    process.stdin.flush()


def test_input_output_and_status(daemon: Daemon) -> None:
    """What is typed goes in, what is said comes out, its status is the client's."""
    start(daemon, "-i", command=ECHOES)
    with attached(daemon) as process:
        assert process.stdout is not None
        for word in (b"one", b"two"):
            type_line(process, word)
            assert process.stdout.readline() == b"got %b\n" % word
        type_line(process, b"bye")
        assert process.wait(timeout=60) == 4


def test_the_end_of_input_ends_the_session(daemon: Daemon) -> None:
    """Of a container that was started detached, as in dockerd; its stdin stays open."""
    start(daemon, "-i", command=ECHOES)
    with attached(daemon) as process:
        assert process.stdin is not None
        process.stdin.close()
        with attached(daemon) as other:
            type_line(other, b"bye")
            assert other.wait(timeout=60) == 4
        assert process.wait(timeout=60) == 4


def test_without_input(daemon: Daemon) -> None:
    """--no-stdin keeps the input from it; its end ends the client."""
    start(daemon, "-i", command=ECHOES)
    with attached(daemon, "--no-stdin") as process, attached(daemon) as other:
        type_line(process, b"unseen")
        type_line(other, b"seen")
        assert other.stdout is not None
        assert other.stdout.readline() == b"got seen\n"
        type_line(other, b"bye")
        assert process.wait(timeout=60) == 4
    assert daemon.docker("logs", "box").text == "got seen"


def test_signals(daemon: Daemon) -> None:
    """A signal to the client reaches the process; not with --sig-proxy=false."""
    start_trapping(daemon, "trap 'echo heard; exit 6' TERM")
    with attached(daemon, "--sig-proxy=false") as process:
        process.send_signal(signal.SIGTERM)  # which the client itself does not mind
    assert state(daemon, "Status") == "running"
    with attached(daemon, "--sig-proxy=true") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 6
    assert daemon.docker("logs", "box").text.splitlines() == ["up", "heard"]


def test_detach_keys(daemon: Daemon) -> None:
    """--detach-keys instead of Docker's; it goes on, and may be attached to again."""
    start(daemon, "-it", command=("sh",))
    for _ in range(2):
        with daemon.docker_on_terminal("attach", "--detach-keys", "ctrl-x,q", "box") as terminal:
            terminal.type("echo a$((1+1))\r")
            terminal.expect("a2")
            terminal.type("\x18q")
            assert terminal.wait() == 1
    assert state(daemon, "Status") == "running"
    with daemon.docker_on_terminal("attach", "--detach-keys", "bogus", "box") as terminal:
        terminal.expect("unable to upgrade to tcp, received 400")


def test_refusals(daemon: Daemon) -> None:
    """What does not run has nothing to attach to, the CLI says; the engine waits for its start."""
    create(daemon)
    said = refusal(daemon, "attach", "box")
    assert said == "You cannot attach to a stopped container, start it first"
    assert refusal(daemon, "attach", "nosuch") == "No such container: nosuch"
