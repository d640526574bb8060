"""`docker unpause`."""

from __future__ import annotations

import pytest

from tests.clients.cli import refusal, start, state
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_it_goes_on_once(daemon: Daemon) -> None:
    """The name is printed; what is not paused refuses, and the others are resumed all the same."""
    box = start(daemon)
    daemon.docker("pause", "box")
    ran = daemon.docker("unpause", "nosuch", "box", code=1)
    assert (ran.text, ran.error_text) == (
        "box",
        "Error response from daemon: No such container: nosuch",
    )
    assert state(daemon, "Status") == "running"
    assert refusal(daemon, "unpause", "box") == f"container {box} is not paused"
