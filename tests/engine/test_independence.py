"""Operations on different containers never wait for one another, nor others for a long one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from tests.engine.many import create, inspect, run, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine]

DEAF = "trap '' TERM; touch /deaf; while :; do sleep 1; done"
FOR_EVER_S = 3600


@contextmanager
def endless_stop(daemon: Daemon, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A stop that waits an hour for a container that does not care; it is at work by now."""
    run(daemon, name, DEAF, network="none")
    probe = ("exec", name, "test", "-e", "/deaf")
    wait_until(lambda: daemon.docker(*probe, code=None).code == 0, "it is deaf")
    filters = quote(f'{{"container":["{name}"],"event":["kill"]}}')
    with daemon.docker_process("stop", "-t", str(FOR_EVER_S), name) as stop:
        wait_until(lambda: _happened(daemon, filters), "the signal is sent")
        yield stop


def _happened(daemon: Daemon, filters: str) -> bool:
    path = f"/events?since=1&until={time.time():.6f}&filters={filters}"
    return bool(daemon.http("GET", path).json_lines())


EVERYTHING = (
    ("POST", "/containers/{}/start", 204),
    ("GET", "/containers/{}/json?size=1", 200),
    ("GET", "/containers/{}/top", 200),
    ("GET", "/containers/{}/logs?stdout=1", 200),
    ("GET", "/containers/{}/stats?stream=0", 200),
    ("GET", "/containers/{}/stats?stream=0&one-shot=1", 200),
    ("POST", "/containers/{}/pause", 204),
    ("POST", "/containers/{}/unpause", 204),
    ("POST", "/containers/{}/update", 200),
    ("POST", "/containers/{}/rename?name={}-2", 204),
    ("POST", "/containers/{}-2/rename?name={}", 204),
    ("POST", "/containers/{}/kill?signal=WINCH", 204),
    ("POST", "/containers/{}/restart?t=0", 204),
    ("POST", "/containers/{}/stop?t=0", 204),
    ("POST", "/containers/{}/wait", 200),
    ("POST", "/containers/{}/start", 204),
    ("DELETE", "/containers/{}?force=1", 204),
)


def test_a_stop_that_lasts_holds_nobody_up(daemon: Daemon) -> None:
    """While it waits, everything can be done to another container, and most to its own."""
    with endless_stop(daemon, "in-deaf") as stop:
        create(daemon, "in-free", "sleep 1000", network="none")
        for method, path, status in EVERYTHING:
            body = {"CpuShares": 512} if path.endswith("update") else None
            answer = daemon.http(method, path.replace("{}", "in-free"), body)
            assert answer.status == status, (path, answer)
        listed = daemon.http("GET", "/containers/json?all=1").json()
        assert [c["Names"] for c in listed] == [["/in-deaf"]]
        assert daemon.docker("exec", "in-deaf", "echo", "here").text == "here"
        for method, path, status in EVERYTHING[1:11]:
            body = {"CpuShares": 512} if path.endswith("update") else None
            answer = daemon.http(method, path.replace("{}", "in-deaf"), body)
            assert answer.status == status, (path, answer)
        assert stop.poll() is None, "it waits still"
        assert state(daemon, "in-deaf")["Running"]
        # A second one of less patience ends both.
        daemon.docker("stop", "-t", "0", "in-deaf")
        assert stop.wait(30) == 0
    assert inspect(daemon, "in-deaf")["State"]["ExitCode"] == 137
