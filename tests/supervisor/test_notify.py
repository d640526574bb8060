"""supervisor.notify: what systemd hears."""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from supervisor.notify import Notifier


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


async def test_signs_of_life_while_healthy(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """One each half of the time allowed; none while the engine says that it is not well."""
    systemd = Systemd(str(tmp_path / "notify"))
    healthy = True

    async def is_healthy() -> bool:
        return healthy

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: Notifier(systemd.address, watchdog_s=10.0).run(
                is_healthy=is_healthy, task_status=task_status
            )
        )
        await trio.sleep(11)
        assert systemd.heard() == ["WATCHDOG=1"] * 3
        healthy = False
        await trio.sleep(60)
        assert systemd.heard() == []
        nursery.cancel_scope.cancel()
    systemd.close()


async def test_unwatched_it_has_nothing_to_do() -> None:
    """It returns, as a child that is not needed does."""
    await Notifier("@x").run()
