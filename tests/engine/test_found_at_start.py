"""What became of containers while no daemon looked: their true ends, and what follows from them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine.fault_checks import actions, misordered
from tests.engine.many import (
    EXIT_7,
    create,
    inspect,
    run,
    run_many,
    state,
    wait_exited,
    wait_gone,
    wait_trap,
)
from tests.support.daemon import Daemon, wait_until
from tests.support.leftovers import Leftovers, cgroups_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ALWAYS: dict[str, Any] = {"RestartPolicy": {"Name": "always"}}
UNLESS_STOPPED: dict[str, Any] = {"RestartPolicy": {"Name": "unless-stopped"}}
EATS_MEMORY = "trap 'exec tail /dev/zero' USR1; while :; do sleep 0.05; done"


def reboot(daemon: Daemon) -> None:
    """What the machine's sudden end leaves: the data folder alone."""
    ids = frozenset(daemon.container_ids())
    daemon.kill()
    for group in cgroups_of(ids):  # what is frozen cannot be killed on cgroup v1
        if (group / "freezer.state").exists():
            (group / "freezer.state").write_text("THAWED")
    Leftovers(daemon.folder, daemon.bridge).end_all()
    shutil.rmtree(daemon.exec_root)
    wait_until(lambda: not [group for group in cgroups_of(ids) if not _removed(group)], "no groups")
    daemon.start()


def _removed(group: Path) -> bool:
    """What is ending is in it for a moment more."""
    with suppress(OSError):
        group.rmdir()
        return True
    return False


def told(daemon: Daemon, name: str, action: str) -> list[dict[str, str]]:
    """The attributes of a container's events of one kind."""
    filters = json.dumps({"container": [name], "event": [action]}).replace(" ", "")
    answer = daemon.http("GET", f"/events?since=1&until={time.time():.6f}&filters={filters}")
    return [event["Actor"]["Attributes"] for event in answer.json_lines()]


def test_after_the_machine_went_down_nothing_is_said_to_run_that_does_not(
    fresh_daemon: Daemon,
) -> None:
    """Exited with 255, told once; policies act on it, and manual stops are remembered."""
    daemon, since = fresh_daemon, time.time() - 1
    run(daemon, "plain", EXIT_7)
    run(daemon, "ice", EXIT_7)
    run(daemon, "gone", EXIT_7, AutoRemove=True)
    run(daemon, "failed", EXIT_7, RestartPolicy={"Name": "on-failure"})
    for name, policy in (("always", ALWAYS), ("rested", UNLESS_STOPPED), ("kept", UNLESS_STOPPED)):
        run(daemon, name, EXIT_7, **policy)
    create(daemon, "idle", EXIT_7, **ALWAYS)
    assert daemon.http("POST", "/containers/ice/pause").status == 204
    assert daemon.http("POST", "/containers/rested/stop?t=5").status == 204

    reboot(daemon)

    # With the first answer: no client is told of what ran before.
    assert state(daemon, "plain")["Status"] == "exited"
    back = ("always", "failed", "kept")
    for name in back:
        wait_until(lambda n=name: state(daemon, n)["Running"], f"{name} is back")  # type: ignore[misc]
    for name in ("plain", "ice"):
        found = state(daemon, name)
        assert (found["Status"], found["ExitCode"], found["Pid"]) == ("exited", 255, 0)
    assert state(daemon, "rested")["ExitCode"] == 7
    assert state(daemon, "idle")["Status"] == "created"
    wait_until(lambda: len(daemon.container_ids()) == 7, "--rm is obeyed")
    for name in ("plain", "ice", "gone", *back):
        assert [die["exitCode"] for die in told(daemon, name, "die")] == ["255"], name
    status = dict.fromkeys(back, "running") | {"gone": "", "plain": "exited", "ice": "exited"}
    for name, word in status.items():
        assert (wrong := misordered(actions(daemon, name, since), word)) is None, (name, wrong)
    for name in (*back, "plain"):
        answer = daemon.http("POST", f"/containers/{name}/restart?t=5")
        assert answer.status == 204, answer


@pytest.mark.parametrize(
    ("script", "number", "code", "oom"),
    [
        ("sleep 1000", signal.SIGKILL, 137, False),
        ("trap 'exit 143' TERM; while :; do sleep 0.05; done", signal.SIGTERM, 143, False),
        (EXIT_7, signal.SIGTERM, 7, False),
        (EATS_MEMORY, signal.SIGUSR1, 137, True),
    ],
    ids=["killed", "asked", "own", "memory"],
)
def test_the_true_end_is_known_of_what_ended_unseen(
    fresh_daemon: Daemon, script: str, number: int, code: int, oom: bool
) -> None:
    """Its code, its time, and whether it was for want of memory; with --rm it is gone."""
    daemon = fresh_daemon
    limits = {"Memory": 16 << 20, "MemorySwap": 16 << 20}
    run(daemon, "seen", script, network="none", **limits)
    run(daemon, "gone", script, network="none", AutoRemove=True, **limits)
    pids = [state(daemon, name)["Pid"] for name in ("seen", "gone")]
    for pid in pids:
        if "trap" in script:
            wait_trap(pid, number)
    daemon.kill()
    for pid in pids:
        os.kill(pid, number)
    for pid in pids:
        wait_until(lambda p=pid: not _lives(p), "its process has ended")  # type: ignore[misc]
    ended_at = time.strftime("%Y-%m-%dT%H:%M:%S.999999999Z", time.gmtime())
    daemon.start()
    wait_exited(daemon, "seen")
    found = state(daemon, "seen")
    assert (found["ExitCode"], found["OOMKilled"]) == (code, oom)
    assert found["FinishedAt"] <= ended_at
    wait_until(lambda: len(daemon.container_ids()) == 1, "--rm is obeyed")
    for name in ("seen", "gone"):
        assert [die["exitCode"] for die in told(daemon, name, "die")] == [str(code)]
    assert len(told(daemon, "gone", "destroy")) == 1


def test_an_exec_is_taken_up_by_the_next_daemon(fresh_daemon: Daemon) -> None:
    """One that runs on, and one that ended meanwhile: both are known, with their true codes.

    dockerd forgets them. Output that nobody takes any more does not hold the process up.
    """
    daemon = fresh_daemon
    run(daemon, "host", "sleep 1000")
    script = "until test -e /go; do sleep 0.05; done; yes | head -c 300000; exit 7"
    meanwhile = "until test -e /meanwhile; do sleep 0.05; done; exit 8"
    ids = []
    for command in (["sh", "-c", script], ["sh", "-c", meanwhile]):
        body = {"Cmd": command, "AttachStdout": True}
        made = daemon.http("POST", "/containers/host/exec", body).json()["Id"]
        assert daemon.http("POST", f"/exec/{made}/start", {"Detach": True}).status == 200
        ids.append(made)
    before, ending = (daemon.http("GET", f"/exec/{exec_id}/json").json() for exec_id in ids)
    first = state(daemon, "host")["Pid"]
    daemon.kill()
    Path(f"/proc/{first}/root/meanwhile").touch()
    wait_gone(ending["Pid"])
    daemon.start()
    assert daemon.http("GET", f"/exec/{ids[0]}/json").json() == before
    assert inspect(daemon, "host")["ExecIDs"] == [ids[0]]

    def code_of(exec_id: str) -> int | None:
        code: int | None = daemon.http("GET", f"/exec/{exec_id}/json").json()["ExitCode"]
        return code

    wait_until(lambda: code_of(ids[1]) == 8, "the one that ended meanwhile has its code")
    daemon.docker("exec", "host", "touch", "/go")
    wait_until(lambda: code_of(ids[0]) == 7, "the other one has its own")
    folders = daemon.exec_root / "io"
    wait_until(lambda: not list(folders.glob("exec.*")), "nothing is left of them")


def test_an_exec_that_had_not_begun_is_unknown_to_the_next_daemon(fresh_daemon: Daemon) -> None:
    """As to dockerd's: nobody waits for it. Its container goes on, and new execs work."""
    daemon = fresh_daemon
    run(daemon, "host", "sleep 1000")
    body = {"Cmd": ["true"]}
    made = daemon.http("POST", "/containers/host/exec", body).json()["Id"]
    daemon.kill()
    daemon.start()
    answer = daemon.http("GET", f"/exec/{made}/json")
    assert (answer.status, answer.message) == (404, f"No such exec instance: {made}")
    assert inspect(daemon, "host")["ExecIDs"] is None
    assert daemon.docker("exec", "host", "echo", "in").text == "in"


def test_an_end_asked_for_with_the_first_answer_stops_all(fresh_daemon: Daemon) -> None:
    """What the daemon has not taken over yet by then it takes over first, and stops."""
    daemon = fresh_daemon
    names = [f"c{number}" for number in range(12)]
    run_many(daemon, names, EXIT_7, network="none")
    pids = [state(daemon, name)["Pid"] for name in names]
    daemon.kill()
    daemon.start()
    daemon.stop()
    assert not [pid for pid in pids if _lives(pid)]
    daemon.start()
    assert {state(daemon, name)["ExitCode"] for name in names} == {7}


def _lives(pid: int) -> bool:
    """A zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_runs_is_there_with_the_first_answer(fresh_daemon: Daemon) -> None:
    """Whatever is asked of a container before the daemon has taken it over waits for that.

    With the first ping each of a dozen gets another request; none is told that it does not run,
    and what was written while no daemon was there is in the log that is read first.
    """
    daemon = fresh_daemon
    names = [f"c{number}" for number in range(12)]
    script = f"echo one; until test -e /go; do sleep 0.05; done; echo two; {EXIT_7}"
    run_many(daemon, names, script, network="none")
    pids = {name: state(daemon, name)["Pid"] for name in names}
    daemon.kill()
    for name in names:
        os.close(os.open(f"/proc/{pids[name]}/root/go", os.O_CREAT | os.O_WRONLY))
        wait_trap(pids[name], signal.SIGTERM)  # they have written, and nobody has read it
    daemon.start()

    def ask(name: str, number: int) -> None:
        match number % 6:
            case 0:
                made = daemon.http("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
                started = daemon.http("POST", f"/exec/{made.json()['Id']}/start", {"Detach": True})
                assert (made.status, started.status) == (201, 200)
            case 1:
                assert daemon.docker("logs", name).text == "one\ntwo"
            case 2:
                assert daemon.http("POST", f"/containers/{name}/stop?t=20").status == 204
            case 3:
                assert daemon.http("POST", f"/containers/{name}/pause").status == 204
            case 4:
                assert daemon.http("GET", f"/containers/{name}/top").status == 200
            case 5:
                assert daemon.http("POST", f"/containers/{name}/start").status == 304

    listed = daemon.http("GET", "/containers/json").json()
    assert {found["Names"][0][1:] for found in listed} == set(names)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(ask, names, range(len(names))))
    for name in names[1::6]:
        assert state(daemon, name)["Pid"] == pids[name]
    for name in names[2::6]:
        assert state(daemon, name)["ExitCode"] == 7


def test_a_kill_for_memory_is_told_once(fresh_daemon: Daemon) -> None:
    """One daemon heard of it from containerd, the next one sees the end of the run."""
    daemon = fresh_daemon
    allocate = "dd if=/dev/zero of=/dev/null bs=60M count=1"
    script = f"trap '{allocate}' USR1; while :; do sleep 0.05; done"
    run(daemon, "greedy", script, network="none", Memory=16 << 20, MemorySwap=16 << 20)
    pid = state(daemon, "greedy")["Pid"]
    wait_trap(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: len(told(daemon, "greedy", "oom")) == 1, "the kill of its child is told")
    daemon.kill()
    daemon.start()
    assert daemon.http("POST", "/containers/greedy/kill").status == 204
    wait_exited(daemon, "greedy")
    assert state(daemon, "greedy")["OOMKilled"] is True
    wait_until(lambda: len(told(daemon, "greedy", "die")) == 1, "the end is told")
    assert len(told(daemon, "greedy", "oom")) == 1
