"""A containerd that is alive, our child or not: waited for and ended through a pidfd."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from ._found import find_pid
from .process_config import ProcessConfig

KILLED_LIMIT_S: Final = 10.0  # from SIGKILL to the end; longer only in uninterruptible sleep

log = logger.bind(service="containerd.process")


class Running:
    """One process, by its pid and a pidfd, so that a pid used again cannot be mistaken for it."""

    def __init__(self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child
        self._how: str | None = None  # set once it has ended; the pidfd is closed from then on

    @classmethod
    def of_child(cls, child: subprocess.Popen[bytes]) -> Running:
        """Our own child, which nobody has waited for yet."""
        return cls(child.pid, os.pidfd_open(child.pid), child)

    async def wait_exited(self) -> str:
        """Block until the process has ended; how, for people."""
        if self._how is None:
            await trio.lowlevel.wait_readable(self._pidfd)
            self._how = self._reap()
        return self._how

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it has not ended in `grace_s`. Returns when it has ended."""
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILLED_LIMIT_S)):
            if self._how is not None:
                break
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            with trio.move_on_after(patience_s):
                await self.wait_exited()
        if self._how is None:
            log.bind(pid=self.pid, after_s=KILLED_LIMIT_S).error("containerd survives SIGKILL")
        else:
            self.close()

    def close(self) -> None:
        """Let go of the process; it is not ended by this."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _reap(self) -> str:
        if self._child is None:
            return "not our child, its status is unknown"
        code = self._child.wait()  # at once: its pidfd says that it has ended
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def find_running(config: ProcessConfig) -> Running | None:
    """As `find_pid`."""
    found = find_pid(config)
    return Running(*found) if found else None
