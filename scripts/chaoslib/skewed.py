"""`python -m supervisor` with a time of day that CHAOS_CLOCK's file says the error of, in seconds.

libfaketime would skew the monotonic waits of the C library as well, where the kernel refuses them;
a clock that is set does not touch these. It is replaced before anything of the daemon is imported.
"""

from __future__ import annotations

import os
import runpy
import time

_real_ns = time.time_ns


def skewed_ns() -> int:
    """What the clock says."""
    with open(os.environ["CHAOS_CLOCK"]) as file:
        return _real_ns() + int(float(file.read() or "0") * 1e9)


if __name__ == "__main__":
    time.time_ns = skewed_ns
    time.time = lambda: skewed_ns() / 1e9
    runpy.run_module("supervisor", run_name="__main__", alter_sys=True)
