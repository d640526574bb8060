"""The audit of a real engine: clean in its usual life, and sharp when things are amiss."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine]

LOST = "f" * 64
OWN = {"X-Wharfinger": "test"}


def audit(daemon: Daemon, **query: str) -> Any:
    """The answer of an audit."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    answer = daemon.http("POST", f"/wharfinger/v1/audit?{words}", headers=OWN)
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
    lost = f"veth{LOST[:8]}"
    subprocess.run(
        ["ip", "link", "add", lost, "type", "veth", "peer", "name", "wfaudit0"], check=True
    )
    subprocess.run(["ip", "link", "set", lost, "master", daemon.bridge.name], check=True)
    assert found(audit(daemon)) >= {("links", lost)}
    subprocess.run(["ip", "link", "delete", lost], check=True)
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


def test_a_page_of_another_site_cannot_ask(daemon: Daemon) -> None:
    """Nor whoever lacks the field that such a page cannot set."""
    for path in ("audit", "reload"):
        answer = daemon.http("POST", f"/wharfinger/v1/{path}")
        assert (answer.status, b"X-Wharfinger" in answer.body) == (403, True)
        origin = {**OWN, "Origin": "http://elsewhere.example"}
        assert daemon.http("POST", f"/wharfinger/v1/{path}", headers=origin).status == 403
