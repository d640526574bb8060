"""A helper that is started before anybody speaks to it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from services.networks.helpers.ahead import HelperAhead
from services.networks.helpers.process import started

ECHO = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as control:
    while data := control.recv(100):
        control.sendall(data)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A helper that answers what it is told."""
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return str(path)


async def test_the_first_who_wants_one_gets_it(program: str) -> None:
    """The next one is started, as if there had been none; each ends with its socket."""
    with HelperAhead(program, socket.SOCK_STREAM) as ahead:
        pids = []
        for _ in range(2):
            async with started(program, socket.SOCK_STREAM, ahead=ahead) as (control, process):
                await control.send(b"hello")
                assert await control.recv(100) == b"hello"
                pids.append(process.pid)
            assert await trio.to_thread.run_sync(process.wait, 60) == 0
        assert len(set(pids)) == 2
        assert ahead.take() is None


def test_what_nobody_took_is_ended_with_the_block(program: str) -> None:
    """A start that fails leaves no process behind."""
    with HelperAhead(program, socket.SOCK_STREAM) as ahead:
        taken = ahead.take()
        assert taken is not None
        ahead._started = taken  # as if it had not been looked at
    assert taken[1].returncode == 0


def test_one_that_cannot_be_started_is_none(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that wants it finds that out again, and says so."""
    monkeypatch.setattr("services.networks.helpers.ahead.sys.executable", "/nowhere/python")
    with HelperAhead(program, socket.SOCK_STREAM) as ahead:
        assert ahead.take() is None
