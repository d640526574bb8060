"""Restart policies: delays, counts, stops in between, what a reboot leaves, and the labels."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
LATE = ("--label", "io.wharfinger.restart.first=10m")
"""So that nothing comes back while the test looks."""
UNTIL_TOLD = "while [ ! -e /go ]; do sleep 0.05; done; rm /go; exit 3"


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.http("GET", f"/containers/{name}/json").json()
    return answer


def state(daemon: Daemon, name: str) -> str:
    found: str = inspect(daemon, name)["State"]["Status"]
    return found


def run(daemon: Daemon, name: str, *options: str, script: str) -> None:
    command = ("busybox", "sh", "-c", script)
    daemon.docker("run", "-d", "--name", name, *NONE, *options, *command)


def actions(daemon: Daemon, name: str) -> list[str]:
    filters = json.dumps({"container": [name], "type": ["container"]}).replace('"', "%22")
    past = f"/events?since=1&until={time.time():.6f}&filters={filters.replace(' ', '')}"
    return [event["Action"] for event in daemon.http("GET", past).json_lines()]


def test_a_stop_while_it_waits_for_its_restart(daemon: Daemon) -> None:
    """It is counted, listed and waited for as dockerd's is; the stop calls the restart off."""
    run(daemon, "rs-waits", "--restart", "always", *LATE, script="exit 7")
    wait_until(lambda: state(daemon, "rs-waits") == "restarting", "it waits")
    found = inspect(daemon, "rs-waits")
    assert (found["RestartCount"], found["State"]["ExitCode"]) == (1, 7)
    assert found["State"]["Running"]
    assert found["State"]["Restarting"]
    assert found["State"]["Pid"] == 0
    status = daemon.docker("ps", "--filter", "name=rs-waits", "--format", "{{.Status}}").text
    assert status.startswith("Restarting (7)")
    for path in ("pause", "top", "exec", "attach?stream=1&stdout=1"):
        method = "GET" if path == "top" else "POST"
        body = {"Cmd": ["true"]} if path == "exec" else None
        answer = daemon.http(method, f"/containers/rs-waits/{path}", body)
        assert answer.status == 409
        assert b"is restarting, wait until the container is running" in answer.body
    daemon.docker("kill", "-s", "HUP", "rs-waits")  # nobody hears it
    assert state(daemon, "rs-waits") == "restarting"
    assert "cannot remove" in daemon.docker("rm", "rs-waits", code=1).error_text
    with daemon.docker_process("wait", "rs-waits") as waiting:
        daemon.docker("stop", "rs-waits")
        assert waiting.communicate(timeout=30)[0] == b"7\n"
    found = inspect(daemon, "rs-waits")["State"]
    assert (found["Status"], found["ExitCode"], found["Restarting"]) == ("exited", 7, False)
    assert actions(daemon, "rs-waits")[-2:] == ["die", "stop"]
    daemon.docker("start", "rs-waits")
    wait_until(lambda: state(daemon, "rs-waits") == "restarting", "it waits again")
    assert inspect(daemon, "rs-waits")["RestartCount"] == 1, "counted anew"
    daemon.docker("kill", "rs-waits")
    assert state(daemon, "rs-waits") == "exited"
    daemon.docker("start", "rs-waits")
    wait_until(lambda: state(daemon, "rs-waits") == "restarting", "it waits once more")
    daemon.docker("rm", "-f", "rs-waits")


@contextmanager
def waiting(daemon: Daemon, name: str, condition: str) -> Iterator[socket.socket]:
    """A wait that has been registered: its head has arrived."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(daemon.socket))
        path = f"/containers/{name}/wait?condition={condition}"
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 200 " in head
        yield connection


def code_of(connection: socket.socket) -> int:
    """What a wait answers."""
    body = b""
    while b"}" not in body:
        body += connection.recv(100)
    found: int = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["StatusCode"]
    return found


def test_waits_across_restarts(daemon: Daemon) -> None:
    """Each exit wakes who waits for one; who waits for the removal sleeps on until then."""
    run(daemon, "rs-again", "--restart", "on-failure:1", script=UNTIL_TOLD)
    with waiting(daemon, "rs-again", "removed") as removal:
        for condition in ("not-running", "next-exit"):
            wait_until(lambda: state(daemon, "rs-again") == "running", "it runs")
            with waiting(daemon, "rs-again", condition) as exit_:
                daemon.docker("exec", "rs-again", "touch", "/go")
                assert code_of(exit_) == 3
        wait_until(lambda: state(daemon, "rs-again") == "exited", "once is enough")
        assert inspect(daemon, "rs-again")["RestartCount"] == 1
        with waiting(daemon, "rs-again", "not-running") as exit_:
            assert code_of(exit_) == 3
        daemon.docker("rm", "rs-again")
        assert code_of(removal) == 3


def test_a_policy_that_changes_while_it_runs(daemon: Daemon) -> None:
    """The next exit goes by the new one."""
    run(daemon, "rs-changes", script=UNTIL_TOLD)
    daemon.docker("update", "--restart", "always", "rs-changes")
    daemon.docker("exec", "rs-changes", "touch", "/go")
    wait_until(lambda: inspect(daemon, "rs-changes")["RestartCount"] == 1, "it is restarted")
    wait_until(lambda: state(daemon, "rs-changes") == "running", "it runs again")
    daemon.docker("update", "--restart", "no", "rs-changes")
    daemon.docker("exec", "rs-changes", "touch", "/go")
    wait_until(lambda: state(daemon, "rs-changes") == "exited", "it ended")
    assert inspect(daemon, "rs-changes")["State"]["ExitCode"] == 3


@pytest.mark.parametrize(
    "label",
    [
        "io.wharfinger.restart.first=soon",
        "io.wharfinger.restart.factor=0",
        "io.wharfinger.restart.jitter=2",
        "io.wharfinger.unhealthy=maybe",
        "io.wharfinger.restart.speed=1",
    ],
)
def test_impossible_labels_are_refused(daemon: Daemon, label: str) -> None:
    """Before anything is made."""
    name, _, value = label.partition("=")
    body = {"Image": "busybox", "Cmd": ["true"], "Labels": {name: value}}
    answer = daemon.http("POST", "/containers/create", body)
    assert answer.status == 400
    assert name in answer.json()["message"]
    assert daemon.container_ids() == []


def rows(daemon: Daemon) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ids and states on the disk of a daemon that does not run."""
    with closing(sqlite3.connect(daemon.data_root / "wharfinger.db")) as database:
        for container_id, status in database.execute("SELECT id, status FROM containers"):
            yield container_id, json.loads(status)


def pretend_reboot(daemon: Daemon) -> None:
    """Have the records say that all runs began before the machine was restarted."""
    changed = [(json.dumps({**s, "boot_id": "another"}).encode(), i) for i, s in rows(daemon)]
    with closing(sqlite3.connect(daemon.data_root / "wharfinger.db")) as database, database:
        database.executemany("UPDATE containers SET status = ? WHERE id = ?", changed)


def test_after_a_reboot(fresh_daemon: Daemon) -> None:
    """What was to run has ended with 255 and its policy decides, whatever has its pid by now."""
    daemon = fresh_daemon
    sleep = "sleep 1000"
    policies = {
        "rs-no": "no",
        "rs-always": "always",
        "rs-unless": "unless-stopped",
        "rs-failure": "on-failure:1",
        "rs-always-stopped": "always",
        "rs-unless-stopped": "unless-stopped",
    }
    for name, policy in policies.items():
        run(daemon, name, "--restart", policy, script=sleep)
    run(daemon, "rs-waiting", "--restart", "on-failure:1", *LATE, script="exit 9")
    run(daemon, "rs-done", "--restart", "on-failure", script="exit 0")
    daemon.docker("stop", "-t0", "rs-always-stopped", "rs-unless-stopped")
    wait_until(lambda: state(daemon, "rs-waiting") == "restarting", "it waits")
    wait_until(lambda: state(daemon, "rs-done") == "exited", "it is done")
    pids = {name: inspect(daemon, name)["State"]["Pid"] for name in policies}
    boots = {status.get("boot_id") for _, status in rows(daemon)}
    assert boots == {Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    daemon.kill()
    pretend_reboot(daemon)
    daemon.start()

    def runs(name: str) -> bool:
        return state(daemon, name) == "running"

    for name in ("rs-always", "rs-unless", "rs-failure", "rs-always-stopped"):
        wait_until(partial(runs, name), f"{name} is started", limit_s=30)
        assert inspect(daemon, name)["State"]["Pid"] != pids[name]
    wait_until(
        lambda: inspect(daemon, "rs-waiting")["State"]["Status"] == "restarting",
        "it was started, and waits again",
        limit_s=30,
    )
    for name in ("rs-no", "rs-unless-stopped", "rs-done"):
        assert state(daemon, name) == "exited"
    codes = [inspect(daemon, name)["State"]["ExitCode"] for name in ("rs-no", "rs-done")]
    assert codes == [255, 0]
    wait_until(lambda: not os.path.exists(f"/proc/{pids['rs-no']}"), "the old process is gone")
    assert [a for a in actions(daemon, "rs-failure") if a in ("die", "start")] == [
        "start", "die", "start",
    ]  # fmt: skip
