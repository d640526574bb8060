"""`docker port`, of containers that publish none."""

from __future__ import annotations

import pytest

from tests.clients.cli import refusal, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_nothing_is_published(daemon: Daemon) -> None:
    """An empty list; the CLI's words for a port that is asked for."""
    start(daemon, "--expose", "80")
    assert daemon.docker("port", "box").text == ""
    assert refusal(daemon, "port", "box", "80") == "Error: No public port '80' published for box"
    assert refusal(daemon, "port", "nosuch") == "No such container: nosuch"
