"""Many at once: starts, execs, processes, containers. WHARFINGER_FULL_SIZE=1 has the full sizes."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from tests.engine.many import create, inspect, run, start, state, wait_exited, wait_trap
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

FULL_SIZE = bool(os.environ.get("WHARFINGER_FULL_SIZE"))
STARTS = 300 if FULL_SIZE else 40
EXECS = 100
FORKS = 10_000 if FULL_SIZE else 1_000
CREATED = 1_000 if FULL_SIZE else 200


def call(daemon: Daemon, method: str, path: str, name: str) -> int:
    """The status of a request about one of many, which may have to wait for the others."""
    return daemon.http(method, path.format(name), limit_s=400).status


@contextmanager
def watched(daemon: Daemon) -> Iterator[list[float]]:
    """How long each list and ping took meanwhile, in seconds, one after the other."""
    took_s: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in ("/_ping", "/containers/json?all=1"):
                began = time.perf_counter()
                assert daemon.http("GET", path).status == 200
                took_s.append(time.perf_counter() - began)
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield took_s
        finally:
            done.set()
            watching.result(60)


def percentile_ms(took_s: list[float], percent: int) -> float:
    """That many of a hundred took no longer."""
    return statistics.quantiles(took_s, n=100)[percent - 1] * 1000


def test_many_starts_at_once(daemon: Daemon) -> None:
    """None fails, none waits for another's answer, and the API goes on answering."""
    names = [f"many{n}" for n in range(STARTS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: create(daemon, name, "sleep 100000", network="none"), names))
    with watched(daemon) as took_s, ThreadPoolExecutor(STARTS) as pool:
        answers = list(pool.map(partial(call, daemon, "POST", "/containers/{}/start"), names))
    print(f"{STARTS} starts; p99 {percentile_ms(took_s, 99):.1f} ms of {len(took_s)} requests")
    running = daemon.http("GET", "/containers/json").json()
    assert len(running) == STARTS
    assert len(took_s) > 20  # it made progress all the while
    assert answers.count(204) == STARTS
    with watched(daemon) as took_s, ThreadPoolExecutor(STARTS) as pool:
        answers = list(pool.map(partial(call, daemon, "DELETE", "/containers/{}?force=1"), names))
    print(f"{STARTS} removals; p99 {percentile_ms(took_s, 99):.1f} ms of {len(took_s)} requests")
    assert set(answers) == {204}


def test_many_execs_at_once_in_one_container(daemon: Daemon) -> None:
    """Each has its own output and code, and none is left in it."""
    run(daemon, "busy", "sleep 100000", network="none")

    def one(number: int) -> tuple[str, int]:
        ran = daemon.docker("exec", "busy", "sh", "-c", f"echo {number}; exit {number}", code=None,
                            limit_s=400)  # fmt: skip
        return ran.text, ran.code

    with watched(daemon) as took_s, ThreadPoolExecutor(EXECS) as pool:
        assert list(pool.map(one, range(EXECS))) == [(str(n), n) for n in range(EXECS)]
    print(f"{EXECS} execs; p99 {percentile_ms(took_s, 99):.1f} ms of {len(took_s)} requests")
    wait_until(lambda: len(processes(daemon, "busy")) == 1, "only the first process is left")
    assert inspect(daemon, "busy")["ExecIDs"] is None


def processes(daemon: Daemon, name: str) -> list[list[str]]:
    """What top shows."""
    answer = daemon.http("GET", f"/containers/{name}/top")
    assert answer.status == 200, answer
    found: list[list[str]] = answer.json()["Processes"]
    return found


def forking(count: int) -> str:
    """Prints how many children it could fork, then waits."""
    return (
        f"n=0; while [ $n -lt {count} ]; do sleep 100000 & n=$((n+1)); done; echo forked; "
        "trap 'exit 9' TERM; wait"
    )


@pytest.mark.parametrize("end", ["stop", "kill", "remove"])
def test_a_container_with_thousands_of_children(daemon: Daemon, end: str) -> None:
    """It is looked at, and ended, as any other."""
    run(daemon, "forks", forking(FORKS), network="none")
    wait_until(lambda: daemon.docker("logs", "forks").text, "all are forked", limit_s=240)
    wait_trap(state(daemon, "forks")["Pid"], signal.SIGTERM)
    with watched(daemon) as took_s:
        assert len(processes(daemon, "forks")) == FORKS + 1
        stats = daemon.http("GET", "/containers/forks/stats?stream=0&one-shot=1").json()
        assert stats["pids_stats"]["current"] == FORKS + 1
        assert daemon.docker("exec", "forks", "echo", "in").text == "in"
        if end == "stop":
            assert daemon.http("POST", "/containers/forks/stop?t=200", limit_s=240).status == 204
            assert state(daemon, "forks")["ExitCode"] == 9
        elif end == "kill":
            assert daemon.http("POST", "/containers/forks/kill").status == 204
            wait_exited(daemon, "forks")
            assert state(daemon, "forks")["ExitCode"] == 137
        else:
            assert daemon.http("DELETE", "/containers/forks?force=1").status == 204
    print(f"{FORKS} children, {end}; p99 {percentile_ms(took_s, 99):.1f} ms")


def test_a_container_that_forks_past_its_limit(daemon: Daemon) -> None:
    """It meets its limit, nobody else does, and it can be ended."""
    # A shell that cannot fork ends; the first one needs no fork to go on.
    script = "mkfifo /f; sh -c 'while :; do sleep 100000 & done'; read nothing < /f"
    run(daemon, "bomb", script, network="none", PidsLimit=50)
    run(daemon, "other", "sleep 100000", network="none")
    wait_until(lambda: "fork" in daemon.docker("logs", "bomb").error_text, "a fork fails")
    assert len(processes(daemon, "bomb")) <= 50
    assert daemon.docker("exec", "other", "echo", "fine").text == "fine"
    assert daemon.http("POST", "/containers/bomb/stop?t=0").status == 204
    assert state(daemon, "bomb")["ExitCode"] == 137
    start(daemon, "bomb")
    assert daemon.http("DELETE", "/containers/bomb?force=1").status == 204


def test_many_created_containers(daemon: Daemon) -> None:
    """They are listed, found by name, by the beginning of an id, and by label; and removed."""
    names = [f"made{n}" for n in range(CREATED)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda name: create(daemon, name, "true", network="none"), names))
    listed = daemon.http("GET", "/containers/json?all=1").json()
    assert {container["Id"] for container in listed} == set(ids)
    assert daemon.docker("ps", "-aq", "--no-trunc", "--filter", "name=^made7$").text == ids[7]
    assert inspect(daemon, ids[-1][:20])["Name"] == f"/{names[-1]}"
    pruned = daemon.http("POST", "/containers/prune").json()
    assert set(pruned["ContainersDeleted"]) == set(ids)
    assert daemon.container_ids() == []
