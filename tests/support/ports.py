"""Ports for what a test starts."""

from __future__ import annotations

import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Final

FIRST: Final = 10_000
EACH: Final = 900
WORKERS: Final = 10


def free_port(kind: int = socket.SOCK_STREAM, address: str = "0.0.0.0") -> int:
    """A port that nobody has now, and that nobody gets by chance before the test has it.

    It is below those that the kernel and our daemons choose themselves, and each worker of a
    parallel run has some of its own. None is given twice before all others have been: two that a
    test asks for are never the same.
    """
    for number in _numbers():
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, number))
            except OSError:
                continue
        return number
    raise AssertionError("the numbers never end")


@functools.cache
def _numbers() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    first = FIRST + worker * EACH
    return itertools.cycle(random.SystemRandom().sample(range(first, first + EACH), EACH))
