"""Two things that happen to one container at once: one of them is first, nothing is in between."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.engine.many import COUNTER, create, run, start, state, wait_exited
from tests.engine.test_scenarios import actions
from tests.support.daemon import ROOT, Daemon, wait_until
from tests.support.fixtures import DaemonFactory

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

FAILING = "sleep 0.1; exit 1"


def test_a_stop_at_any_moment_of_a_restart_loop_holds(daemon: Daemon) -> None:
    """While it runs, while it waits, while it is started again: afterwards it is exited."""
    for n in range(8):
        run(daemon, f"loop{n}", FAILING, network="none", RestartPolicy={"Name": "always"})
        time.sleep(0.06 * n)
        answer = daemon.http("POST", f"/containers/loop{n}/stop?t=0")
        assert answer.status in (204, 304), answer
    time.sleep(1.0)
    for n in range(8):
        found = state(daemon, f"loop{n}")
        assert (found["Status"], found["Restarting"]) == ("exited", False)


def test_start_stop_and_remove_all_at_once(daemon: Daemon) -> None:
    """Every call ends with an answer that dockerd could have given; the end is clean."""
    for n in range(6):
        name = f"race{n}"
        create(daemon, name, COUNTER, network="none")
        calls = [
            ("POST", f"/containers/{name}/start"),
            ("POST", f"/containers/{name}/stop?t=0"),
            ("POST", f"/containers/{name}/start"),
            ("POST", f"/containers/{name}/kill"),
            ("DELETE", f"/containers/{name}?force=1"),
        ]
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(lambda call: daemon.http(*call), calls))
        assert {answer.status for answer in answers} <= {204, 304, 404, 409}, answers
        daemon.http("DELETE", f"/containers/{name}?force=1")
        assert daemon.http("GET", f"/containers/{name}/json").status == 404


def test_many_execs_at_once_and_the_end_of_their_container(daemon: Daemon) -> None:
    """They start side by side; those that the container's end meets end with it."""
    run(daemon, "busy", "sleep 1000", network="none")
    with ThreadPoolExecutor(30) as pool:
        done = [
            pool.submit(daemon.docker, "exec", "busy", "echo", str(n), limit_s=200)
            for n in range(30)
        ]
        assert [future.result().text for future in done] == [str(n) for n in range(30)]
        late = [
            pool.submit(daemon.docker, "exec", "busy", "sleep", "1000", code=None)
            for _ in range(10)
        ]
        time.sleep(0.5)
        assert daemon.http("POST", "/containers/busy/kill").status == 204
        assert all(future.result().code != 0 for future in late)


def test_who_attaches_between_runs_gets_the_next_one(daemon: Daemon) -> None:
    """Also right after the exit, when the last run's streams are being closed."""
    create(daemon, "again", "echo hello; exit 3", network="none")
    for _ in range(6):
        ran = daemon.docker("start", "--attach", "again", code=3)
        assert ran.text == "hello"


def test_a_reader_that_stands_still_delays_no_restart(daemon: Daemon) -> None:
    """Its container comes back by its policy and by hand."""
    flood = "while :; do echo 0123456789012345678901234567890123456789; done & sleep 0.5; kill $!"
    script = f"until test -e /go; do sleep 0.05; done; rm /go; {flood}"
    run(daemon, "chatty", script, network="none")
    with daemon.docker_process("attach", "--no-stdin", "chatty") as attached:
        wait_until(lambda: "attach" in actions(daemon, "chatty"), "it is attached")
        attached.send_signal(signal.SIGSTOP)
        try:
            daemon.docker("exec", "chatty", "touch", "/go")
            wait_exited(daemon, "chatty")
            start(daemon, "chatty")
            assert state(daemon, "chatty")["Running"]
        finally:
            attached.send_signal(signal.SIGCONT)


def test_it_can_be_asked_to_end_while_it_starts(fresh_daemon: Daemon) -> None:
    """At any moment: status 0, no traceback, and the next one starts."""
    daemon = fresh_daemon
    assert daemon.process is not None
    command = daemon.process.args
    assert daemon.stop() == 0
    for n in range(6):
        with daemon.log_file.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        mark = len(daemon.log_text())
        if n == 0:
            time.sleep(0.6)
        else:
            wait_until(partial(daemon.log_text, since=mark), "it says something")
        time.sleep(0.02 * n)
        process.terminate()
        assert process.wait(90) in (0, -signal.SIGTERM)  # before the signals are caught
    assert "Traceback" not in daemon.log_text()
    daemon.start()


CLUMSY = """#!/bin/sh
# Once, when the mark is there: what containerd's late burial does to a start beside it.
root=$2; for last; do :; done
words='unable to store init state: %!w(<nil>)'
if test -e {mark} && case " $* " in *" {step} "*) true ;; *) false ;; esac; then
    rm {mark}
    if test {step} = create; then
        echo '{{"level":"error","msg":"error during container init: '"$words"'"}}' > "$4"
        exit 1
    fi
    {runc} --root "$root" delete --force "$last"
fi
exec {runc} "$@"
"""


@pytest.mark.parametrize("step", ["create", "start"])
def test_a_restart_survives_the_late_burial_of_the_last_run(
    make_daemon: DaemonFactory, tmp_path: Path, step: str
) -> None:
    """containerd deletes by the container's id: the new run is made again, and who waits sees it.

    The output of the run that came about is all there, also for a client that was attached.
    """
    mark, script = tmp_path / "mark", tmp_path / "clumsy"
    script.write_text(CLUMSY.format(mark=mark, step=step, runc=shutil.which("runc")))
    script.chmod(0o755)
    daemon = make_daemon("--add-runtime", f"clumsy={script}")
    daemon.docker(
        *("create", "--name", "again", "--network", "none", "--runtime", "clumsy"),
        *("busybox", "echo", "whole"),
    )
    daemon.docker("start", "--attach", "again")
    mark.touch()
    assert daemon.docker("start", "--attach", "again").text == "whole"
    assert not mark.exists()
    assert daemon.docker("logs", "again").text == "whole\nwhole"
    assert state(daemon, "again")["ExitCode"] == 0
    assert "start buried with the last run" in daemon.log_text()


def test_pauses_while_execs_start(daemon: Daemon) -> None:
    """Each is first or second, none is stuck in between: whatever came of it can be ended."""
    run(daemon, "held", "trap 'exit 0' TERM; sleep 1000 & wait", network="none")
    pauses_are_over = threading.Event()

    def start_execs(_: int) -> set[int]:
        seen = set()
        while not pauses_are_over.is_set():
            made = daemon.http("POST", "/containers/held/exec", {"Cmd": ["true"]})
            if made.status == 201:
                path = f"/exec/{made.json()['Id']}/start"
                made = daemon.http("POST", path, {"Detach": True})
            seen.add(made.status)
        return seen

    with ThreadPoolExecutor(3) as pool:
        execs = pool.map(start_execs, range(3))
        try:
            for _ in range(15):
                for what in ("pause", "unpause"):
                    answer = daemon.http("POST", f"/containers/held/{what}")
                    assert answer.status == 204, answer
        finally:
            pauses_are_over.set()
        assert set().union(*execs) <= {200, 201, 409}
    assert daemon.http("POST", "/containers/held/pause").status == 204
    assert daemon.http("POST", "/containers/held/kill").status == 204
