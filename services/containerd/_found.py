"""Finds a containerd that was started with our configuration, by its process. Imports no trio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .process_config import ProcessConfig


def find_pid(config: ProcessConfig) -> tuple[int, int] | None:
    """The pid of one that is alive, and a pidfd that the caller closes. Reads files: blocks.

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
            return pid, pidfd
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
