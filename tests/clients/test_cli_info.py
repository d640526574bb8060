"""`docker info`, also called `docker system info`, and `docker version`."""

from __future__ import annotations

import json

import pytest

from tests.clients.cli import create, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_counts_and_places(daemon: Daemon) -> None:
    """--format, and the page for people."""
    start(daemon)
    start(daemon, name="paused")
    daemon.docker("pause", "paused")
    create(daemon, name="still")
    info = json.loads(daemon.docker("info", "--format", "{{json .}}").text)
    counts = ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped")
    assert [info[count] for count in counts] == [3, 1, 1, 1]
    assert info["Images"] >= 1
    assert info["DockerRootDir"] == str(daemon.data_root)
    page = daemon.docker("system", "info").text
    for line in ("Server Version: ", " Running: 1\n", " Paused: 1\n", " Stopped: 1\n"):
        assert line in page


def test_version(daemon: Daemon) -> None:
    """What the engine is made of, and which API it speaks."""
    version = json.loads(daemon.docker("version", "--format", "{{json .Server}}").text)
    assert version["MinAPIVersion"] == "1.24"
    assert version["Os"] == "linux"
    assert {part["Name"] for part in version["Components"]} >= {"containerd", "runc"}
    assert "Server:" in daemon.docker("version").text
