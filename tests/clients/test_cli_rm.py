"""`docker rm`."""

from __future__ import annotations

import pytest

from tests.clients.cli import create, refusal, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_force_for_what_runs(daemon: Daemon) -> None:
    """rm refuses, rm --force kills, and its files are gone."""
    container_id = start(daemon)
    assert refusal(daemon, "rm", "box") == (
        'cannot remove container "/box": container is running: stop the container before '
        "removing or force remove"
    )
    daemon.docker("pause", "box")
    assert "container is paused: stop the container before" in refusal(daemon, "rm", "box")
    folder = daemon.data_root / "containers" / container_id
    assert folder.is_dir()
    assert daemon.docker("rm", "--force", "box").text == "box"
    assert not folder.exists()
    assert refusal(daemon, "rm", "box") == "No such container: box"
    daemon.docker("rm", "-f", "box")  # to the client there is nothing left to do


def test_volumes_go_with_it(daemon: Daemon) -> None:
    """--volumes takes the nameless ones; one failure stops none."""
    create(daemon, "-v", "/data")
    create(daemon, "-v", "/data", name="other")
    ran = daemon.docker("rm", "--volumes", "nosuch", "box", code=1)
    assert ran.text == "box"
    left = daemon.docker("volume", "ls", "-q").text.split()
    assert len(left) == 1
    daemon.docker("rm", "-v", "other")
    assert daemon.docker("volume", "ls", "-q").text == ""


def test_a_link_alone(daemon: Daemon) -> None:
    """--link takes "parent/alias"; a container's own name is none."""
    create(daemon)
    said = "cannot remove the default link name of the container"
    assert said in refusal(daemon, "rm", "--link", "box").lower()
    assert refusal(daemon, "rm", "--link", "nosuch/alias")
    assert daemon.container_ids() != []
