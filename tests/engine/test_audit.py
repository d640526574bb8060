"""The audit of a real engine: clean in its usual life, and sharp when things are amiss."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine]

LOST = "f" * 64


def audit(daemon: Daemon, **query: str) -> Any:
    """The answer of an audit."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    answer = daemon.http("POST", f"/wharfinger/v1/audit?{words}")
    assert answer.status == 200, answer.body
    return answer.json()


def found(answer: Any) -> set[tuple[str, str]]:
    """Kind and subject of each finding."""
    return {
        (finding["Kind"], finding["Subject"])
        for check in answer["Checks"]
        for finding in check["Findings"]
    }


def test_what_is_amiss_is_found_and_mended(fresh_daemon: Daemon) -> None:
    """Nothing with containers in every state; then each kind of leftover by its name; then nothing.

    What is the user's own, a volume's data, is taken up and not deleted.
    """
    daemon = fresh_daemon
    daemon.docker("run", "-d", "--name", "up", "-v", "vol:/v", "busybox", "sleep", "1000")
    daemon.docker("run", "--name", "over", "busybox", "true")
    daemon.docker("create", "--name", "new", "busybox", "true")
    assert audit(daemon)["Clean"], audit(daemon)

    data, exec_root = daemon.folder / "data", daemon.folder / "exec"
    (data / "containers" / LOST).mkdir()
    mounted = exec_root / "shm" / LOST
    mounted.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "shm", mounted], check=True)
    (data / "volumes" / "found" / "_data").mkdir(parents=True)
    amiss = {
        ("folders", str(data / "containers" / LOST)),
        ("folders", str(mounted)),
        ("mounts", str(mounted)),
        ("volumes", "found"),
    }
    assert found(audit(daemon)) == amiss
    answer = audit(daemon, repair="1")
    assert answer["Clean"], answer
    assert {(mended["Kind"], mended["Subject"]) for mended in answer["Mended"]} == amiss
    assert daemon.docker("volume", "inspect", "found").code == 0
    assert daemon.docker("exec", "up", "true").code == 0
