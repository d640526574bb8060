"""A shim that is stuck or killed: its container's trouble, and nobody else's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.many import COUNTER, facts, is_counted, log_lines, run, shim_pid, start, state
from tests.support.daemon import Daemon, wait_until
from tests.support.standstill import stop_process

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

PATIENCE_S = 3.0  # beyond what it takes before; calls on the stuck one take their whole deadline
DEADLINE_S = 90.0


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still."""
    stop_process(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_stuck_one_delays_only_its_own_container(fresh_daemon: Daemon) -> None:
    """Calls on it end by a deadline and name it; all others are as quick as ever; then all is well.

    A daemon that is killed and started meanwhile comes up as quickly, and finds it running.
    """
    daemon = fresh_daemon
    for name in ("stuck", "free", "other"):
        run(daemon, name, COUNTER)
    before = [facts(daemon, name) for name in ("stuck", "free")]
    usual_s = 3 * _slowest_s(daemon) + PATIENCE_S
    with stopped(shim_pid(before[0].pid)):
        with (
            daemon.docker_process("exec", "stuck", "true") as execing,
            daemon.docker_process("kill", "-s", "WINCH", "stuck") as signalling,
            daemon.docker_process("pause", "stuck") as pausing,
        ):
            began = time.monotonic()
            time.sleep(0.3)
            assert _slowest_s(daemon) < usual_s
            for process in (execing, signalling, pausing):
                out, err = process.communicate(timeout=DEADLINE_S)
                assert process.returncode != 0
                assert b"stuck" in out + err or before[0].id.encode() in out + err, out + err
            assert time.monotonic() - began < DEADLINE_S
        _says_since_when(daemon, "stuck", usual_s)
        daemon.kill()
        daemon.start()
        wait_until(lambda: state(daemon, "stuck")["Running"], "it is shown")
        assert _slowest_s(daemon) < usual_s
    wait_until(lambda: _answers(daemon, "stuck"), "it answers again")
    assert [facts(daemon, name) for name in ("stuck", "free")] == before
    assert "not answering" not in daemon.docker("ps").text
    assert daemon.docker("stop", "-t", "0", "stuck").code == 0
    assert is_counted(log_lines(daemon, "stuck"))


def _says_since_when(daemon: Daemon, name: str, usual_s: float) -> None:
    """Its state is shown as it was last known, in the usual time, and since when that is."""

    def told() -> bool:
        began = time.monotonic()
        text = daemon.docker("ps", "--filter", f"name={name}", "--format", "{{.Status}}").text
        assert time.monotonic() - began < usual_s
        return text.startswith("Up ") and "(not answering for " in text

    wait_until(told, "it is said that it does not answer", limit_s=DEADLINE_S)
    assert state(daemon, name)["UnreadableSince"]
    assert "not answering" not in daemon.docker("ps", "--filter", "name=free").text


def test_a_stuck_one_can_be_killed_past_its_shim(fresh_daemon: Daemon) -> None:
    """The process ends; the client hears that no exit was reported; then the exit is recorded."""
    daemon = fresh_daemon
    run(daemon, "stuck", COUNTER)
    pid = facts(daemon, "stuck").pid
    with stopped(shim_pid(pid)):
        began = time.monotonic()
        ran = daemon.docker("rm", "-f", "stuck", code=1)
        assert time.monotonic() - began < DEADLINE_S
        assert "stuck" in ran.error_text
        with open(f"/proc/{pid}/stat") as file:
            assert file.read().rpartition(")")[2].split()[0] == "Z"
    wait_until(lambda: state(daemon, "stuck")["Status"] == "exited", "its exit is known")
    assert state(daemon, "stuck")["ExitCode"] == 137


def test_a_killed_one_ends_its_container_alone(fresh_daemon: Daemon) -> None:
    """It is exited with 137 soon, can be started again, and the others do not notice."""
    daemon = fresh_daemon
    for name in ("victim", "free"):
        run(daemon, name, COUNTER)
    free, victim = facts(daemon, "free"), facts(daemon, "victim")
    os.kill(shim_pid(victim.pid), signal.SIGKILL)
    wait_until(lambda: state(daemon, "victim")["Status"] == "exited", "its end is known")
    assert state(daemon, "victim")["ExitCode"] == 137
    wait_until(lambda: not os.path.exists(f"/proc/{victim.pid}"), "its process is gone")
    start(daemon, "victim")
    assert daemon.docker("exec", "victim", "echo", "in").text == "in"
    assert facts(daemon, "victim").pid != victim.pid
    assert facts(daemon, "free") == free


def test_killed_ones_are_known_after_a_restart(fresh_daemon: Daemon) -> None:
    """Shim and daemon killed together: the next daemon records the end and reclaims the rest."""
    daemon = fresh_daemon
    run(daemon, "victim", COUNTER)
    run(daemon, "gone", COUNTER, AutoRemove=True)
    shims = [shim_pid(facts(daemon, name).pid) for name in ("victim", "gone")]
    daemon.kill()
    for pid in shims:
        os.kill(pid, signal.SIGKILL)
    daemon.start()
    wait_until(lambda: state(daemon, "victim")["Status"] == "exited", "its end is known")
    assert state(daemon, "victim")["ExitCode"] in (137, 255)
    wait_until(lambda: len(daemon.container_ids()) == 1, "--rm is obeyed")
    start(daemon, "victim")


def _slowest_s(daemon: Daemon) -> float:
    """What the slowest of some commands takes that need not wait for the stuck one."""
    took_s = []
    for command in (
        *(("ps",), ("exec", "free", "true"), ("inspect", "stuck"), ("logs", "stuck")),
        *(("stop", "-t", "0", "other"), ("start", "other")),
    ):
        began = time.monotonic()
        daemon.docker(*command)
        took_s.append(time.monotonic() - began)
    return max(took_s)


def _answers(daemon: Daemon, name: str) -> bool:
    if state(daemon, name)["Paused"]:  # the pause came to pass, and is shown
        daemon.docker("unpause", name, code=None)
    return daemon.docker("exec", name, "true", code=None).code == 0
