"""supervisor.process.notify: what systemd hears."""

from __future__ import annotations

import math
import os
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from supervisor.process.notify import Notifier


class Systemd:
    """The receiving end: a datagram socket that never blocks."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0", 1))

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    name = f"@{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    receiver = Systemd(name)
    yield receiver
    receiver.close()


def test_every_message(systemd: Systemd) -> None:
    """One datagram each, over a path or an abstract name."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": systemd.address})
    notifier.ready("up")
    notifier.status("two\nlines")
    notifier.stopping()
    assert systemd.heard() == ["READY=1\nSTATUS=up", "STATUS=two lines", "STOPPING=1"]


def test_reloading_tells_the_time(systemd: Systemd) -> None:
    """systemd compares it with its own monotonic clock, in microseconds."""
    before = time.monotonic_ns() // 1000
    Notifier(systemd.address).reloading()
    (message,) = systemd.heard()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", message)
    assert match is not None
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("address", ["", "/nonexistent/socket", "vsock:2:1", "@nobody-listens"])
def test_nobody_to_tell_is_no_error(address: str) -> None:
    """The engine does not depend on its watcher."""
    Notifier.from_environment({"NOTIFY_SOCKET": address}).ready()


@pytest.mark.parametrize(
    ("usec", "pid", "watchdog_s"),
    [
        ("3000000", "", 3.0),
        ("3000000", "own", 3.0),
        ("3000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_who_is_watched(usec: str, pid: str, watchdog_s: float | None) -> None:
    """Only the process that WATCHDOG_PID means, and only with a time that makes sense."""
    pid = str(os.getpid()) if pid == "own" else pid
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    assert Notifier.from_environment(environment).watchdog_s == watchdog_s


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Systemd]:
    """A notifier that systemd gives up after 10 s without a sign."""
    systemd = Systemd(str(folder / "notify"))
    async with trio.open_nursery() as nursery:
        await nursery.start(Notifier(systemd.address, watchdog_s=10.0).run)
        yield systemd
        nursery.cancel_scope.cancel()
    systemd.close()


async def test_signs_of_life(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """One each quarter of the time allowed, the first at once."""
    async with watched(tmp_path) as systemd:
        await trio.sleep(11)
        assert systemd.heard() == ["WATCHDOG=1"] * 5


@pytest.mark.parametrize(("lag_s", "is_alive"), [(0.0, True), (4.0, True), (6.0, False)])
async def test_a_loop_that_lags_gives_no_sign(
    lag_s: float, is_alive: bool, mock_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """By more than half of the time allowed: it is alive, and serves nobody."""
    async with watched(tmp_path) as systemd:
        await trio.testing.wait_all_tasks_blocked()
        assert systemd.heard() == ["WATCHDOG=1"]
        mock_clock.jump(2.5 + lag_s)
        await trio.testing.wait_all_tasks_blocked()
        assert systemd.heard() == ["WATCHDOG=1"] * is_alive


def test_the_end_says_how_long_it_may_take(systemd: Systemd) -> None:
    """Whatever the unit allows; without a limit of ours the unit's counts."""
    notifier = Notifier(systemd.address)
    notifier.stopping("draining", takes_s=12.5)
    notifier.stopping(takes_s=math.inf)
    assert systemd.heard() == [
        "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=12500000",
        "STOPPING=1",
    ]


async def test_unwatched_it_has_nothing_to_do() -> None:
    """It returns, as a child that is not needed does."""
    await Notifier("@x").run()
