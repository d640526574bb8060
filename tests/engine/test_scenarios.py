"""Containers that behave oddly, clients that do, and operations that meet."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.engine.many import (
    COUNTER,
    EXIT_7,
    create,
    inspect,
    run,
    start,
    state,
    wait_exited,
    wait_traps,
)
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

ALLOCATE = "dd if=/dev/zero of=/dev/null bs=60M count=1"
CANNOT_START = (126, 127, 128)  # as dockerd's client shows what the runtime says of an exec
LITTLE_MEMORY = {"Memory": 16 << 20, "MemorySwap": 16 << 20}


# ── operations that meet ─────────────────────────────────────────────────────────────────────


def test_execs_that_meet_the_exit(daemon: Daemon) -> None:
    """Each ends, and says so: it ran, or the container was gone; none hangs, none is left."""
    for delay_s in (0.3, 0.5, 0.7):
        create(daemon, "short", f"sleep {delay_s}", network="none")
        start(daemon, "short")
        with ThreadPoolExecutor(8) as pool:
            ended = list(
                pool.map(
                    lambda _: daemon.docker("exec", "short", "sleep", "0.1", code=None), range(24)
                )
            )
        for ran in ended:
            assert ran.code in (0, 1, *CANNOT_START, 137), ran
            if ran.code in CANNOT_START:  # whoever met the dying process first says in what words
                assert ran.out.strip(), ran
            if ran.code == 1:
                # The second is the CLI's, for a 409 where it wanted to take the connection over.
                assert "is not running" in ran.error_text or "409" in ran.error_text, ran
        wait_exited(daemon, "short")
        assert state(daemon, "short")["ExitCode"] == 0
        assert inspect(daemon, "short")["ExecIDs"] is None
        assert daemon.http("DELETE", "/containers/short").status == 204


def test_stops_that_meet_restarts(daemon: Daemon) -> None:
    """Whoever comes last decides; the container can be started and stopped afterwards."""
    run(daemon, "both", EXIT_7, network="none")
    for _ in range(3):
        with ThreadPoolExecutor(6) as pool:
            paths = ["restart?t=5", "stop?t=5"] * 3
            calls = [f"/containers/both/{path}" for path in paths]
            answers = list(pool.map(lambda path: daemon.http("POST", path, limit_s=200), calls))
        assert {answer.status for answer in answers} <= {204, 304}, answers
        status = state(daemon, "both")
        assert status["Status"] in ("running", "exited")
        assert (status["Pid"] > 0) is status["Running"]
    assert daemon.http("POST", "/containers/both/restart").status == 204
    assert daemon.docker("exec", "both", "echo", "on").text == "on"
    wait_traps(state(daemon, "both")["Pid"], EXIT_7)
    assert daemon.http("POST", "/containers/both/stop").status == 204
    assert state(daemon, "both")["ExitCode"] == 7


def test_removals_that_meet_starts(daemon: Daemon) -> None:
    """It runs, or it is gone: never both, and its name is free when it is gone."""
    for n in range(10):
        create(daemon, "doomed", COUNTER, network="none")
        with ThreadPoolExecutor(3) as pool:
            starting = pool.submit(daemon.http, "POST", "/containers/doomed/start")
            time.sleep(0.01 * n)
            removing = pool.submit(daemon.http, "DELETE", "/containers/doomed?force=1")
            assert starting.result().status in (204, 404, 409), starting.result()
            assert removing.result().status == 204, removing.result()
        assert daemon.http("GET", "/containers/doomed/json").status == 404
    assert daemon.container_ids() == []


def test_renames_under_load(daemon: Daemon) -> None:
    """One at a time has a name; logs, exec and list find it under the one that it has."""
    run(daemon, "here0", COUNTER, network="none")
    create(daemon, "other", "true", network="none")
    container_id = inspect(daemon, "here0")["Id"]

    def rename(to: str) -> int:
        return daemon.http("POST", f"/containers/{container_id}/rename?name={to}").status

    with ThreadPoolExecutor(8) as pool:
        renames = [pool.submit(rename, f"here{n}") for n in range(1, 30)]
        refused = [pool.submit(rename, "other") for _ in range(5)]
        looks = [pool.submit(daemon.docker, "exec", container_id, "true") for _ in range(5)]
        assert {one.result() for one in renames} == {204}
        assert {one.result() for one in refused} == {409}
        assert all(look.result().code == 0 for look in looks)
    (listed,) = daemon.http("GET", "/containers/json").json()
    name = listed["Names"][0].removeprefix("/")
    assert inspect(daemon, name)["Id"] == container_id
    for n in range(30):
        if f"here{n}" != name:
            assert daemon.http("GET", f"/containers/here{n}/json").status == 404


# ── processes that behave oddly ──────────────────────────────────────────────────────────────


def test_one_that_closes_its_output(daemon: Daemon) -> None:
    """Logs, attach and wait end when it does, not when its output does; the code is its own."""
    script = "echo one; exec >&- 2>&-; sleep 1; exit 4"
    began = time.monotonic()
    assert daemon.docker("run", "--network", "none", "--name", "mute", "busybox", "sh", "-c",
                         script, code=4).text == "one"  # fmt: skip
    assert time.monotonic() - began >= 1
    start(daemon, "mute")
    with daemon.docker_process("logs", "-f", "mute") as logs:
        assert daemon.http("POST", "/containers/mute/wait").json()["StatusCode"] == 4
        assert logs.communicate(timeout=90)[0] == b"one\none\n"


def test_one_that_ignores_being_asked(daemon: Daemon) -> None:
    """It is killed when its time is over; kill with another signal leaves it alone."""
    run(daemon, "deaf", "trap '' TERM INT; while :; do sleep 0.05; done", network="none")
    assert daemon.http("POST", "/containers/deaf/kill?signal=TERM").status == 204
    began = time.monotonic()
    assert daemon.http("POST", "/containers/deaf/stop?t=1").status == 204
    assert time.monotonic() - began >= 1
    assert state(daemon, "deaf")["ExitCode"] == 137
    assert state(daemon, "deaf")["OOMKilled"] is False


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (f"exec {ALLOCATE}", 137),
        (f"{ALLOCATE}; exit 3", 3),  # a child is killed: told as well, as under dockerd
    ],
    ids=["itself", "a child"],
)
def test_one_that_the_kernel_kills_for_its_memory(daemon: Daemon, script: str, code: int) -> None:
    """OOMKilled, with the code that its first process had; the next run begins afresh."""
    create(daemon, "greedy", script, network="none", **LITTLE_MEMORY)
    start(daemon, "greedy")
    wait_exited(daemon, "greedy")
    found = state(daemon, "greedy")
    assert (found["OOMKilled"], found["ExitCode"]) == (True, code)
    wait_until(lambda: "oom" in actions(daemon, "greedy"), "the event is told")
    start(daemon, "greedy")
    wait_exited(daemon, "greedy")
    assert state(daemon, "greedy")["OOMKilled"] is True


def actions(daemon: Daemon, name: str) -> list[str]:
    """What the events tell of a container."""
    filters = f'{{"container":["{name}"]}}'.replace('"', "%22")
    events = daemon.http("GET", f"/events?since=1&until={time.time():.6f}&filters={filters}")
    return [event["Action"] for event in events.json_lines()]


def test_one_that_dies_before_its_exec(daemon: Daemon) -> None:
    """The exec says that it does not run, whether it was made before or not."""
    run(daemon, "gone", "sleep 100000", network="none")
    made = daemon.http("POST", "/containers/gone/exec", {"Cmd": ["true"]}).json()["Id"]
    assert daemon.http("POST", "/containers/gone/kill").status == 204
    wait_exited(daemon, "gone")
    late = daemon.http("POST", f"/exec/{made}/start", {"Detach": True})
    assert late.status == 409
    assert "is not running" in late.message
    ran = daemon.docker("exec", "gone", "true", code=1)
    container_id = inspect(daemon, "gone")["Id"]
    assert ran.error_text == f"Error response from daemon: container {container_id} is not running"


def test_an_exec_whose_child_holds_its_pipes(daemon: Daemon) -> None:
    """It ends with its own process, some seconds later at most; the child lives on."""
    run(daemon, "host", "sleep 100000", network="none")
    ran = daemon.docker("exec", "host", "sh", "-c", "sleep 100000 & echo begun; exit 5", code=5)
    assert ran.text == "begun"
    names = [
        process[-1] for process in daemon.http("GET", "/containers/host/top").json()["Processes"]
    ]
    assert names.count("sleep 100000") == 2
    assert inspect(daemon, "host")["ExecIDs"] is None


# ── clients that behave oddly ────────────────────────────────────────────────────────────────


def test_an_exec_whose_client_vanishes(daemon: Daemon) -> None:
    """It runs to its end, which is recorded; nobody waits for the client."""
    run(daemon, "host", "sleep 100000", network="none")
    script = "while [ ! -e /go ]; do echo line; sleep 0.05; done; exit 6"
    wanted = {"AttachStdout": True, "AttachStdin": True, "Cmd": ["sh", "-c", script]}
    made = daemon.http("POST", "/containers/host/exec", wanted).json()["Id"]
    body = b'{"Detach":false,"Tty":false}'
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(
            b"POST /exec/%b/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: %d\r\n\r\n%b"
            % (made.encode(), len(body), body)
        )
        received = b""
        while b"line" not in received:
            received += client.recv(4096)
    found = daemon.http("GET", f"/exec/{made}/json").json()
    assert found["Running"] is True
    daemon.docker("exec", "host", "touch", "/go")
    wait_until(lambda: daemon.http("GET", f"/exec/{made}/json").json()["ExitCode"] == 6, "it ends")


def test_attached_clients_that_stop_reading(daemon: Daemon) -> None:
    """They hold up the process, as under dockerd; once they are gone the others go on."""
    line = "0123456789012345678901234567890123456789"
    gate = "while [ ! -e /go ]; do sleep 0.05; done"
    run(daemon, "flood", f"{gate}; while :; do echo {line}; done", network="none")
    with (
        daemon.docker_process("attach", "--no-stdin", "flood") as reading,
        daemon.docker_process("attach", "--no-stdin", "flood") as stopped,
    ):
        wait_until(lambda: actions(daemon, "flood").count("attach") == 2, "both are attached")
        daemon.docker("exec", "flood", "touch", "/go")
        count = counted(reading)
        wait_until(lambda: count() > 100_000, "it gets its output")
        assert stopped.poll() is None  # nobody reads its pipe, which is full by now or soon
        assert daemon.http("GET", "/_ping").status == 200
        run(daemon, "quiet", "echo hello; sleep 100000", network="none")
        wait_until(lambda: daemon.docker("logs", "quiet").text == "hello", "others are served")
        stopped.send_signal(signal.SIGKILL)
        before = count()
        wait_until(lambda: count() > before + 5_000_000, "the other goes on", limit_s=200)
        assert daemon.http("DELETE", "/containers/flood?force=1").status == 204


def counted(process: subprocess.Popen[bytes]) -> Callable[[], int]:
    """Reads what comes; how many bytes that were until now."""
    assert process.stdout is not None
    size, descriptor = 0, process.stdout.fileno()
    os.set_blocking(descriptor, False)

    def count() -> int:
        nonlocal size
        with suppress(BlockingIOError):
            size += len(os.read(descriptor, 1 << 20))
        return size

    return count


def test_ready_answers_are_those_of_the_routes(daemon: Daemon) -> None:
    """What is answered at once for speed reads as what the routes answer, errors too."""
    run(daemon, "one", "sleep 100000", network="none")
    for path, same in (
        ("/containers/one/json", "/containers/one/json?size=0"),
        ("/v1.24/containers/one/json", "/v1.24/containers/one/json?size=0"),
        ("/containers/nobody/json", "/containers/nobody/json?size=0"),
    ):
        fast, slow = daemon.http("GET", path), daemon.http("GET", same)
        assert (fast.status, fast.json()) == (slow.status, slow.json())
        assert {*fast.headers} >= {*slow.headers} - {"date"}
    assert daemon.http("GET", "/containers/json?filters=nonsense").status == 400
    assert daemon.http("GET", "/exec/nobody/json").status == 404
