"""`docker run`, as people use it."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_run_prints_what_the_command_prints(daemon: Daemon) -> None:
    """The first example of every introduction works, and leaves nothing."""
    ran = daemon.docker("run", "--rm", "busybox", "echo", "hi")
    assert (ran.out, ran.err) == (b"hi\n", b"")
    assert daemon.container_ids() == []
