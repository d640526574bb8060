"""`crashing`, with a clock that a test sets: its error in seconds is read from CLOCK_FILE.

Only the time of day; the monotonic clock is the machine's. It is replaced before anything of the
daemon is imported, for functions may have it as a default.
"""

from __future__ import annotations

import os
import runpy
import time

_real_ns = time.time_ns


def ahead_ns() -> int:
    """The clock's error now."""
    try:
        with open(os.environ["CLOCK_FILE"]) as file:
            return int(float(file.read()) * 1e9)
    except FileNotFoundError:
        return 0


def skewed_ns() -> int:
    """What the clock says."""
    return _real_ns() + ahead_ns()


if __name__ == "__main__":
    time.time_ns = skewed_ns
    time.time = lambda: skewed_ns() / 1e9
    runpy.run_module("tests.support.crashing", run_name="__main__", alter_sys=True)
