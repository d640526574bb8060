"""`docker inspect`, also called `docker container inspect`, of containers."""

from __future__ import annotations

import json

import pytest

from tests.clients.cli import create, inspected, refusal, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_a_running_one(daemon: Daemon) -> None:
    """Its state, its addresses on the bridge, its exposed ports."""
    daemon.docker("run", "-d", "--name", "box", "--expose", "80", "busybox", "sleep", "1000")
    (shown,) = json.loads(daemon.docker("container", "inspect", "box").text)
    assert shown["State"]["Status"] == "running"
    assert shown["State"]["Running"] is True
    assert shown["State"]["Pid"] > 0
    assert shown["NetworkSettings"]["Ports"] == {"80/tcp": None}
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    daemon.docker("stop", "-t", "0", "box")
    assert inspected(daemon)["NetworkSettings"]["Ports"] == {}


def test_formats_sizes_and_types(daemon: Daemon) -> None:
    """--format by template and as JSON, --size, --type; several at once, and what is missing."""
    create(daemon)
    create(daemon, name="other")
    ran = daemon.docker("inspect", "--format", "{{.Name}} {{.State.Status}}", "box", "other")
    assert ran.text.splitlines() == ["/box created", "/other created"]
    assert json.loads(daemon.docker("inspect", "-f", "json", "box").text)[0]["Name"] == "/box"
    sizes = daemon.docker("inspect", "--size", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "box").text
    written, total = map(int, sizes.split())
    assert 0 <= written < 100_000 < total
    assert daemon.docker("inspect", "--type", "container", "-f", "{{.Name}}", "box").text == "/box"
    assert "no such image" in refusal(daemon, "inspect", "--type", "image", "box").lower()
    ran = daemon.docker("inspect", "-f", "{{.Name}}", "nosuch", "box", code=1)
    assert (ran.text, ran.error_text) == ("/box", "Error: No such object: nosuch")
    assert "map has no entry for key" in refusal(daemon, "inspect", "-f", "{{.Bogus}}", "box")


def test_execs_are_listed_while_they_live(daemon: Daemon) -> None:
    """Prepared ones too; null when there are none."""
    start(daemon)
    assert inspected(daemon)["ExecIDs"] is None
    made = daemon.http("POST", "/containers/box/exec", {"Cmd": ["true"]}).json()["Id"]
    assert inspected(daemon)["ExecIDs"] == [made]
    daemon.http("POST", f"/exec/{made}/start", {})
    assert inspected(daemon)["ExecIDs"] is None
