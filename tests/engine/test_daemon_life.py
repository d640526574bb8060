"""How the daemon starts, ends and is told things, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.engine.many import (
    COUNTER,
    all_facts,
    is_counted,
    log_lines,
    run,
    run_many,
    shim_pid,
    state,
    wait_traps,
)
from tests.support.daemon import ROOT, Daemon, wait_until
from tests.support.http import begun
from tests.support.standstill import stop_process

pytestmark = [pytest.mark.engine]

STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def configure(daemon: Daemon, **settings: object) -> None:
    """Write its daemon.json."""
    (daemon.folder / "daemon.json").write_text(json.dumps(settings))


def hang_up(daemon: Daemon, said: str) -> str:
    """SIGHUP; what the log has of it once `said` is in there."""
    mark = len(daemon.log_text())
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: said in daemon.log_text(since=mark), said)
    return daemon.log_text(since=mark)


def test_sigterm_stops_all_containers_at_once(fresh_daemon: Daemon) -> None:
    """Side by side, each with its own grace; status 0; nothing is left."""
    daemon = fresh_daemon
    for n in range(6):
        body = {"Image": "busybox", "Cmd": ["sh", "-c", STUBBORN], "StopTimeout": 4}
        assert daemon.http("POST", f"/containers/create?name=s{n}", body).status == 201
        assert daemon.http("POST", f"/containers/s{n}/start").status == 204
    pids = [state(daemon, f"s{n}")["Pid"] for n in range(6)]
    began = time.monotonic()
    assert daemon.stop() == 0
    assert 4.0 <= time.monotonic() - began < 20.0  # one after the other it would be 24
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not daemon.socket.exists()
    assert not (daemon.folder / "pid").exists()
    daemon.start()
    assert {state(daemon, f"s{n}")["ExitCode"] for n in range(6)} == {137}
    said = daemon.log_text().partition("asked to end")[2].splitlines()
    # docker-cli alone, as Debian has it from 13 on, makes no group.
    assert [line for line in said if "WARNING" in line and "no such group" not in line] == []


def test_who_needs_others_stops_before_them(fresh_daemon: Daemon) -> None:
    """The user of a link and of a network namespace first, though it takes its time."""
    daemon = fresh_daemon
    slow = "trap 'sleep 0.7; exit 3' TERM; while :; do sleep 0.05; done"
    quick = slow.replace("sleep 0.7; ", "")
    for name, more, script in (
        ("base", (), quick),
        ("user", ("--link", "base"), slow),
        ("guest", ("--network=container:user",), slow),
    ):
        daemon.docker("run", "-d", "--name", name, *more, "busybox", "sh", "-c", script)
        wait_traps(state(daemon, name)["Pid"], script)
    assert daemon.stop() == 0
    daemon.start()
    ended = {name: str(state(daemon, name)["FinishedAt"]) for name in ("base", "user", "guest")}
    assert sorted(ended, key=lambda name: ended[name]) == ["guest", "user", "base"]
    assert state(daemon, "user")["ExitCode"] == 3


def test_endless_answers_end_with_their_last_chunk(fresh_daemon: Daemon) -> None:
    """A followed log and the events: whoever reads them is not told of a broken connection."""
    daemon = fresh_daemon
    run(daemon, "web", "trap 'exit 0' TERM; while :; do echo line; sleep 0.05; done")
    with (
        begun(daemon.socket, "GET", "/containers/web/logs?follow=1&stdout=1") as log,
        begun(daemon.socket, "GET", "/events") as events,
    ):
        assert (log.status, events.status) == (200, 200)
        assert daemon.stop() == 0
        # An answer without its last chunk raises IncompleteRead.
        assert b"line" in log.read()
        events.read()
    daemon.start()


def test_the_shutdown_timeout_leaves_what_will_not_end(fresh_daemon: Daemon) -> None:
    """A container whose shim is stuck does not keep the daemon; the next one adopts it.

    The exit status says so, and the last line of the log names it.
    """
    daemon = fresh_daemon
    run(daemon, "stuck", STUBBORN)
    run(daemon, "free", "sleep 1000")
    pid = state(daemon, "stuck")["Pid"]
    configure(daemon, **{"shutdown-timeout": 3})
    hang_up(daemon, "configuration reloaded")
    stop_process(shim_pid(pid))
    try:
        began = time.monotonic()
        daemon.http("POST", "/containers/stuck/kill?signal=WINCH")
        mark = len(daemon.log_text())
        assert daemon.stop() == 3
        assert time.monotonic() - began < 60.0
        last = daemon.log_text(since=mark).splitlines()[-1]
        assert "containers that could not be stopped run on" in last
        assert "['stuck']" in last
    finally:
        os.kill(shim_pid(pid), signal.SIGCONT)
    daemon.start()


def test_the_third_sigterm_ends_it_at_once(fresh_daemon: Daemon) -> None:
    """With 128 + 15; containers run on and are adopted by the next daemon."""
    daemon = fresh_daemon
    run(daemon, "web", STUBBORN)
    before = all_facts(daemon, ["web"])
    assert daemon.process is not None
    mark = len(daemon.log_text())
    for number in range(1, 4):
        daemon.process.send_signal(signal.SIGTERM)
        # Two that come at once are one; the third is not told of before it ends.
        if number < 3:
            told = partial(_times_asked, daemon, mark, number)
            wait_until(told, f"signal {number} was heard", pause_s=0.005)
    assert daemon.process.wait(60) == 143
    daemon.start()
    assert all_facts(daemon, ["web"]) == before


def _times_asked(daemon: Daemon, since: int, number: int) -> bool:
    return daemon.log_text(since=since).count("asked to end") >= number


def test_live_restore_leaves_them_running(fresh_daemon: Daemon) -> None:
    """Over an orderly end too; no line of the log is lost meanwhile."""
    daemon = fresh_daemon
    configure(daemon, **{"live-restore": True})
    hang_up(daemon, "configuration reloaded")
    names = [f"live{n}" for n in range(5)]
    run_many(daemon, names, COUNTER)
    before = all_facts(daemon, names)
    time.sleep(0.3)
    assert daemon.stop() == 0
    time.sleep(0.5)
    daemon.start()
    wait_until(lambda: daemon.docker("exec", "live4", "true", code=None).code == 0, "adopted")
    assert all_facts(daemon, names) == before
    for name in names:
        daemon.docker("kill", name)
        assert is_counted(log_lines(daemon, name)), name
    configure(daemon)
    hang_up(daemon, "configuration reloaded")


def test_an_update_leaves_containers_running(fresh_daemon: Daemon) -> None:
    """SIGUSR2 ends the engine in order, without live-restore; the next one adopts them."""
    daemon = fresh_daemon
    run(daemon, "web", COUNTER)
    before = all_facts(daemon, ["web"])
    assert daemon.signal_and_wait(signal.SIGUSR2) == 0
    daemon.start()
    assert all_facts(daemon, ["web"]) == before
    daemon.docker("kill", "web")
    assert is_counted(log_lines(daemon, "web"))


def test_sighup_takes_over_what_can_be_changed(fresh_daemon: Daemon) -> None:
    """Debug, labels; a broken file changes nothing and says so."""
    daemon = fresh_daemon
    configure(daemon, debug=True, labels=["a=b"])
    hang_up(daemon, "configuration reloaded")
    info = daemon.http("GET", "/info").json()
    assert (info["Debug"], info["Labels"]) == (True, ["a=b"])
    (daemon.folder / "daemon.json").write_text("{broken")
    said = hang_up(daemon, "configuration not reloaded")
    assert "daemon.json" in said
    info = daemon.http("GET", "/info").json()
    assert (info["Debug"], info["Labels"]) == (True, ["a=b"])


def test_sigquit_writes_the_stacks(fresh_daemon: Daemon) -> None:
    """Of all tasks, to a file that the log names; the daemon goes on."""
    daemon = fresh_daemon
    run(daemon, "web", "sleep 1000")
    os.kill(daemon.pid, signal.SIGQUIT)
    wait_until(lambda: "stacks written" in daemon.log_text(), "the stacks are written")
    (path,) = daemon.exec_root.glob("*stack*")
    assert "pump" in path.read_text()
    assert daemon.http("GET", "/_ping").status == 200


def test_a_second_daemon_is_refused(fresh_daemon: Daemon) -> None:
    """By the pidfile, and by the socket when the pidfile is another; the first is unharmed."""
    daemon = fresh_daemon
    assert daemon.process is not None
    first = [str(argument) for argument in daemon.process.args]  # type: ignore[union-attr]
    refused = subprocess.run(first, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert refused.returncode == 1
    assert f"process with PID {daemon.pid} is still running" in refused.stderr
    other = daemon.folder / "other"
    flags = ["--pidfile", f"{other}.pid", "--data-root", f"{other}.data", "--bridge", "none"]
    flags += ["--exec-root", f"{other}.exec", "-H", daemon.host]
    command = [sys.executable, "-m", "supervisor", *flags]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert refused.returncode == 1
    assert "address already in use" in refused.stderr + refused.stdout
    assert daemon.http("GET", "/_ping").status == 200


def test_what_a_killed_daemon_left_is_taken_over(fresh_daemon: Daemon) -> None:
    """Its socket file and its pidfile; the folders have dockerd's modes."""
    daemon = fresh_daemon
    daemon.kill()
    assert daemon.socket.exists()
    assert (daemon.folder / "pid").exists()
    daemon.start()
    assert int((daemon.folder / "pid").read_text()) == daemon.pid
    assert daemon.socket.stat().st_mode & 0o777 == 0o660
    assert daemon.data_root.stat().st_mode & 0o777 == 0o711
    assert (daemon.data_root / "containers").stat().st_mode & 0o777 == 0o710


def test_sockets_and_readiness_by_systemd(fresh_daemon: Daemon) -> None:
    """fd:// serves on the socket that was passed; READY=1 comes when it does."""
    daemon = fresh_daemon
    assert daemon.process is not None
    command = [str(argument) for argument in daemon.process.args]  # type: ignore[union-attr]
    command[command.index(daemon.host)] = "fd://"
    assert daemon.stop() == 0
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
    ):
        listening.bind(str(daemon.socket))
        listening.listen()
        notices.bind(str(daemon.folder / "notify"))
        notices.settimeout(60)
        # In the child alone: descriptor 3 of this process may be anybody's.
        script = 'exec 3<&"$0"; LISTEN_PID=$$ exec "$@"'
        environment = os.environ | {
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(daemon.folder / "notify"),
        }
        with daemon.log_file.open("ab") as log:
            daemon.process = subprocess.Popen(
                ["bash", "-c", script, str(listening.fileno()), *command],
                cwd=ROOT,
                env=environment,
                pass_fds=[listening.fileno()],
                stdout=log,
                stderr=log,
            )
        assert b"READY=1" in notices.recv(4096)
        assert daemon.http("GET", "/_ping").status == 200
        os.kill(daemon.pid, signal.SIGTERM)
        assert b"STOPPING=1" in notices.recv(4096)
        assert daemon.process.wait(60) == 0
    assert daemon.socket.exists()  # it is systemd's
    daemon.socket.unlink()
