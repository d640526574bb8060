"""services.containerd.ahead: a containerd that comes up while its engine is still imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from services.containerd.ahead import Ahead
from services.containerd.connection import probe
from services.containerd.process import Process
from services.containerd.process_config import ProcessConfig
from tests.engine_fixtures import private_config

pytestmark = pytest.mark.engine


@pytest.fixture
def config() -> Iterator[ProcessConfig]:
    """Folders for one containerd, with nothing in them yet."""
    with private_config() as config:
        yield config


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_the_one_that_was_started_ahead_is_taken_over(config: ProcessConfig) -> None:
    """It is the one that `run` watches, and ends; nothing is started again beside it."""
    with Ahead(config) as ahead:
        started = int(config.pid_file.read_text())
        async with trio.open_nursery() as nursery:
            pid = await nursery.start(Process(config, ahead=ahead).run)
            assert pid == started
            assert await probe(config.address)
            with Ahead(config) as second:  # another start, with the same folders: refused later
                assert second.take() is None
            nursery.cancel_scope.cancel()
        assert not is_alive(pid)
        assert ahead.take() is None


def test_one_that_nobody_took_is_ended(config: ProcessConfig) -> None:
    """A start that fails before its tree is there leaves nothing behind."""
    with pytest.raises(ZeroDivisionError), Ahead(config):
        pid = int(config.pid_file.read_text())
        raise ZeroDivisionError
    assert not is_alive(pid)
    assert not config.pid_file.exists()


def test_one_that_cannot_be_started_is_left_to_who_tells_of_it(config: ProcessConfig) -> None:
    """No error: the part of the tree will find the same, and say so."""
    with Ahead(replace(config, binary="no-such-containerd")) as ahead:
        assert ahead.take() is None
