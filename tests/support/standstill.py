"""Processes that stand still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

LIMIT_S: Final = 60.0


def stop_process(pid: int) -> None:
    """SIGSTOP, and return when none of its threads runs any more.

    One that runs on another processor goes on for a moment after the signal was sent.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + LIMIT_S
    while not all(_is_stopped(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, f"{pid} does not stop"
        time.sleep(0.001)


def _is_stopped(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (FileNotFoundError, ProcessLookupError):
        return True
