"""Shims that containerd has forgotten.

When the client of a task's creation goes away in the middle (a daemon that is killed), containerd
1.6 may leave the shim behind that it had just started: no record and no task refer to it, and
nobody ever ends it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

PROGRAM_PREFIX: Final = b"containerd-shim-"


class Shims:
    """The shims of one namespace of one containerd. Both methods block."""

    def __init__(self, address: Path, namespace: str) -> None:
        self._address = address
        self._namespace = namespace

    def find(self) -> dict[str, int]:
        """Their pids by container id; also those that only clean up."""
        return find_shims(self._address, self._namespace)

    def end(self, container_id: str, pid: int) -> bool:
        """Kill one with what it has started; False if that pid is not its (any more)."""
        return end_shim(pid, container_id, self._address, self._namespace)


def find_shims(address: Path, namespace: str) -> dict[str, int]:
    """The pids of the shims of the containerd at `address`, by container id. Blocks."""
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            shim_id = _shim_id(int(entry.name), address, namespace)
            if shim_id is not None:
                found[shim_id] = int(entry.name)
    return found


def end_shim(pid: int, shim_id: str, address: Path, namespace: str) -> bool:
    """Kill a shim and what it has started; False if that pid is not its (any more). Blocks."""
    with suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            # Asked after the pidfd was opened: if it is the shim's now, then the pidfd is too.
            if _shim_id(pid, address, namespace) != shim_id:
                return False
            for child in _children(pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        return True
    return False


def _shim_id(pid: int, address: Path, namespace: str) -> str | None:
    try:
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    if not os.path.basename(program).startswith(PROGRAM_PREFIX):
        return None
    options = _options(arguments)
    if options.get(b"-address") != os.fsencode(address):
        return None
    if options.get(b"-namespace") != namespace.encode() or b"-id" not in options:
        return None
    return os.fsdecode(options[b"-id"])


def _options(arguments: list[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(arguments[0::2], arguments[1::2], strict=False))


def _children(pid: int) -> list[int]:
    """Of all its threads: whoever of them started a process is its parent."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return children
