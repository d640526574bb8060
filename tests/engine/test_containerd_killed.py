"""kill -9 of containerd: the API answers throughout, containers run on and stay in our hands."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from services.containerd.process_config import ProcessConfig
from tests.engine.many import (
    COUNTER,
    EXIT_7,
    all_facts,
    create,
    is_counted,
    log_lines,
    run,
    run_many,
    state,
    wait_exited,
)
from tests.support.daemon import Daemon, running_daemon, wait_until
from tests.support.leftovers import Bridge, Leftovers

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

COUNTERS = [f"count{n}" for n in range(16)]
LEAVERS = [f"leave{n}" for n in range(4)]
USUAL_S = 5.0  # many times what these requests take, and no deadline of theirs is at fault


@dataclass(slots=True)
class Watch:
    """Asks again and again what must always be answered, and notes what took long or failed."""

    daemon: Daemon
    slow: list[str] = field(default_factory=list)
    asked: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the block runs."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
        assert self.asked > 10
        assert not self.slow, self.slow

    def _ask(self) -> None:
        paths = ("/_ping", "/containers/json?all=1", "/containers/count0/json")
        while not self._ended.is_set():
            for path in paths:
                began = time.monotonic()
                status = self.daemon.http("GET", path).status
                took_s = time.monotonic() - began
                self.asked += 1
                if status != 200 or took_s > USUAL_S:
                    self.slow.append(f"{path}: {status} after {took_s:.2f} s")


def test_twenty_containers_outlive_it(fresh_daemon: Daemon) -> None:
    """It is started again; who left meanwhile has its code; the rest is as before, and obeys."""
    daemon = fresh_daemon
    run_many(daemon, COUNTERS, COUNTER)
    run_many(daemon, LEAVERS, EXIT_7)
    before, leaving = all_facts(daemon, COUNTERS), all_facts(daemon, LEAVERS)
    containerd = daemon.containerd_pid
    with Watch(daemon).watching():
        os.kill(containerd, signal.SIGKILL)
        for gone in leaving:
            os.kill(gone.pid, signal.SIGTERM)
        for name in LEAVERS:
            wait_exited(daemon, name)
        time.sleep(0.5)
    assert [state(daemon, name)["ExitCode"] for name in LEAVERS] == [7] * len(LEAVERS)
    assert daemon.containerd_pid != containerd
    assert all_facts(daemon, COUNTERS) == before
    for name in COUNTERS[:4]:
        assert daemon.docker("exec", name, "echo", "in").text == "in"
    for name in COUNTERS:
        assert daemon.http("POST", f"/containers/{name}/stop?t=0").status == 204
        assert is_counted(log_lines(daemon, name)), name
    run(daemon, "after", "true")


def test_many_times_under_load(fresh_daemon: Daemon) -> None:
    """Whatever is under way either succeeds or fails with a word, and can be done again."""
    daemon = fresh_daemon
    ended = threading.Event()
    failures: list[str] = []

    def kill() -> None:
        while not ended.wait(1.1):
            # On a loaded machine the next one may not have come, or written its number, yet.
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(daemon.containerd_pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for n in range(12):
            failures += _one_life(daemon, f"load{n}")
    finally:
        ended.set()
        killer.join()
    assert not failures, failures
    daemon.remove_containers()


def _one_life(daemon: Daemon, name: str) -> list[str]:
    """Create, start, kill and remove, each tried again while containerd is away."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
    steps = (
        ("POST", f"/containers/create?name={name}", body, (201,)),
        ("POST", f"/containers/{name}/start", None, (204, 304)),
        ("POST", f"/containers/{name}/kill", None, (204, 409)),
        ("DELETE", f"/containers/{name}?force=1", None, (204,)),
    )
    for method, path, sent, wanted in steps:
        for _ in range(10):
            answer = daemon.http(method, path, sent)
            if answer.status in wanted:
                break
            if answer.status not in (500, 503):
                return [f"{path}: {answer}"]
        else:
            return [f"{path}: {answer}"]
    return []


@contextmanager
def external_containerd() -> Iterator[ProcessConfig]:
    """Folders for a containerd that the test starts and ends."""
    folder = Path(tempfile.mkdtemp(prefix="wc", dir="/tmp"))
    config = ProcessConfig(data_root=folder / "data", exec_root=folder / "run")
    config.folder.mkdir(parents=True)
    config.root.mkdir(parents=True)
    config.config_file.write_text(config.toml())
    try:
        yield config
    finally:
        Leftovers(folder, Bridge(name="", address="")).sweep()


def spawn(config: ProcessConfig) -> subprocess.Popen[bytes]:
    """Start the containerd of `config`."""
    with config.log_file.open("ab") as log:
        return subprocess.Popen(
            ["containerd", "--config", str(config.config_file)], stdout=log, stderr=log
        )


def starts(daemon: Daemon, name: str) -> bool:
    """Whether a start succeeds. It waits at the gate, on a slow machine not for long enough."""
    answer = daemon.http("POST", f"/containers/{name}/start")
    assert answer.status in (204, 304, 503), answer
    return answer.status != 503


def test_an_external_one_is_waited_for() -> None:
    """Without it the API answers, changes are refused with 503 and a hint, and nothing is lost."""
    with external_containerd() as config:
        containerd = spawn(config)
        try:
            wait_until(config.address.exists, "it listens")
            with running_daemon("--containerd", str(config.address)) as daemon:
                run_many(daemon, COUNTERS[:4], COUNTER)
                create(daemon, "later", "sleep 1000")
                before = all_facts(daemon, COUNTERS[:4])
                with Watch(daemon).watching():
                    containerd.kill()
                    containerd.wait()
                    answer = daemon.http("POST", "/containers/later/start")
                    assert answer.status == 503, answer
                    assert "containerd" in answer.message
                    assert answer.headers["retry-after"]
                    containerd = spawn(config)
                    wait_until(partial(starts, daemon, "later"), "it is back")
                assert all_facts(daemon, COUNTERS[:4]) == before
                assert daemon.docker("exec", "count0", "echo", "in").text == "in"
                assert daemon.docker("stop", "-t", "0", "count1").code == 0
                assert is_counted(log_lines(daemon, "count1"))
        finally:
            containerd.kill()
            containerd.wait()
