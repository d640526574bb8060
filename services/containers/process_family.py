"""A process with all that it started, and its end.

runc gives each exec a session of its own, so a process belongs to the family of an exec when it is
in its session or descends from it: a child whose parent has died is found by its session. One that
made itself a session and lost its parent has left the family, as a daemon does on purpose.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """Where a process stands: the pids of its parent and of its session's leader."""

    parent: int
    session: int


def family(root: int, processes: Mapping[int, Kin]) -> frozenset[int]:
    """Those of `processes` that belong to `root`, itself among them if it is there."""
    children: dict[int, list[int]] = {}
    for pid, kin in processes.items():
        children.setdefault(kin.parent, []).append(pid)
    found: set[int] = set()
    to_visit = [pid for pid, kin in processes.items() if root in (pid, kin.parent, kin.session)]
    while to_visit:
        pid = to_visit.pop()
        if pid not in found:
            found.add(pid)
            to_visit += children.get(pid, ())
    return frozenset(found)


def kill_family(root: int, among: Iterable[int]) -> int:
    """Kill those of `among` that belong to `root`; how many there were. Blocks: reads /proc.

    A pid that is used again meanwhile is not hit.
    """
    if root <= 0:
        return 0
    processes = {pid: kin for pid in among if (kin := _kin_of(pid)) is not None}
    members = family(root, processes)
    for pid in members:
        _kill(pid, processes[pid])
    return len(members)


def _kin_of(pid: int) -> Kin | None:
    """None when it is gone, or dead and not buried yet."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return None


def _kill(pid: int, kin: Kin) -> None:
    """Kill a process if it is still the one that was looked at.

    Its parent may have been killed just before: its session tells who it is.
    """
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return
    try:
        found = _kin_of(pid)
        if found is not None and found.session == kin.session:
            signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(held)


def parse_stat(stat: bytes) -> Kin | None:
    """Of a /proc/<pid>/stat; None for a zombie. Source: proc(5)."""
    # The name may hold anything, parentheses and blanks too: the last one ends it.
    state, parent, _, session, *_ = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else Kin(parent=int(parent), session=int(session))
