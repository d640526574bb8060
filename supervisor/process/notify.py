"""Tells systemd how the engine is (sd_notify), when systemd asked for it.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

import trio
from loguru import logger

log = logger.bind(service="notify")

TICKS: Final = 4  # signs of life in the time after which systemd gives us up


class Notifier:
    """One datagram for each change. Without a socket to send to, every call does nothing.

    A message that cannot be sent is logged and dropped: the engine does not depend on its watcher.
    """

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        """`address` is a path, or a name in the abstract namespace after `@`."""
        self._address = address
        # systemd waits this long for a sign of life; None: it does not.
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, pid: int | None = None
    ) -> Notifier:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; `pid` is this process's."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            address = ""
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", "") in (
            "",
            str(os.getpid() if pid is None else pid),
        )
        is_watched = bool(address) and meant and microseconds.isdecimal() and int(microseconds) > 0
        return cls(address, watchdog_s=int(microseconds) / 1e6 if is_watched else None)

    def ready(self, status: str = "") -> None:
        """The API answers; also ends `reloading`."""
        self._send("READY=1", *_status(status))

    def stopping(self, status: str = "", *, takes_s: float = 0.0) -> None:
        """The end has begun. It may take `takes_s`, whatever the unit's own limit says; 0: that."""
        is_limited = 0 < takes_s < math.inf
        more = (f"EXTEND_TIMEOUT_USEC={int(takes_s * 1e6)}",) if is_limited else ()
        self._send("STOPPING=1", *_status(status), *more)

    def reloading(self) -> None:
        """The configuration is being read again; `ready` must follow, also when that fails."""
        # The kernel's CLOCK_MONOTONIC, which is what systemd compares it with.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send signs of life at a quarter of the time that systemd allows, until cancelled.

        Returns before `started()` when systemd does not watch. What is watched is the event loop:
        one that is stuck sends nothing; one that comes late by half of that time each time sends
        nothing either, for it serves nobody. A delay of a tenth of it is logged.
        """
        if self.watchdog_s is None:
            return
        self.alive()
        task_status.started()
        pause_s = self.watchdog_s / TICKS
        while True:
            due = trio.current_time() + pause_s
            await trio.sleep_until(due)
            lag_s = trio.current_time() - due
            if lag_s > self.watchdog_s / 10:
                log.warning("the event loop lags", lag_s=round(lag_s, 3))
            if lag_s <= self.watchdog_s / 2:
                self.alive()

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd not notified", message=lines[0], error=str(error))


def _status(text: str) -> tuple[str, ...]:
    # A line break would begin another field.
    return (f"STATUS={' '.join(text.splitlines())}",) if text else ()
