"""A containerd that is alive, our child or not: waited for and ended through a pidfd."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from .process_config import ProcessConfig

KILLED_LIMIT_S: Final = 10.0  # from SIGKILL to the end; longer only in uninterruptible sleep

log = logger.bind(service="containerd.process")


class Running:
    """One process, by its pid and a pidfd, so that a pid used again cannot be mistaken for it."""

    def __init__(self, pid: int, pidfd: int, child: trio.Process | None = None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child
        self._how: str | None = None  # set once it has ended; the pidfd is closed from then on

    @classmethod
    def of_child(cls, child: trio.Process) -> Running:
        """Our own child, which nobody has waited for yet."""
        return cls(child.pid, os.pidfd_open(child.pid), child)

    async def wait_exited(self) -> str:
        """Block until the process has ended; how, for people."""
        if self._how is None:
            await trio.lowlevel.wait_readable(self._pidfd)
            self._how = await self._reap()
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

    async def _reap(self) -> str:
        if self._child is None:
            return "not our child, its status is unknown"
        code = await self._child.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def find_running(config: ProcessConfig) -> Running | None:
    """The containerd that was started with our config file, if one is alive. Reads files: blocks.

    The pidfile is the short way. Without it all processes are looked through: two containerds on
    the same data would damage it, and we may have died between starting one and noting its pid.
    """
    for pid in _candidates(config.pid_file):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        # Asked after the pidfd was opened: if it is ours now, then the pidfd is of that process.
        if _was_started_with(pid, config.config_file):
            return Running(pid, pidfd)
        os.close(pidfd)
    return None


def _candidates(pid_file: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        yield int(pid_file.read_text())
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)


def _was_started_with(pid: int, config_file: Path) -> bool:
    """A process that has ended and waits to be reaped has no command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[1:3] == [b"--config", os.fsencode(config_file)]
