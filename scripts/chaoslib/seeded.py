"""What clients of the engine and of the swarm have in common: chances of their own, and a loop."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Self

ERROR_PAUSE_S = 1.0


class SeededClient:
    """One client. `number` makes its names and its chances its own."""

    EXPECTED: ClassVar[Mapping[type[Exception], float]] = MappingProxyType({})
    """Errors that are part of a life, and for how long it rests after each, in seconds."""

    def __init__(self, complain: Callable[[str], None], seed: int, number: int) -> None:
        self._complain = complain
        self._chance = random.Random(f"{seed}/{number}")
        self._number, self._made = number, 0
        self.ended = threading.Event()

    def run(self, life: Callable[[Self], None]) -> None:
        """Live again and again until `ended`. An error of ours is recorded as something wrong."""
        while not self.ended.is_set():
            try:
                life(self)
            except Exception as error:  # a thread's end would be silent
                time.sleep(self._rest_s(error))

    def new_name(self, what: str) -> str:
        """A name that nobody had before."""
        self._made += 1
        return f"{what}-{self._number}-{self._made}"

    def _rest_s(self, error: Exception) -> float:
        for kind, pause_s in self.EXPECTED.items():
            if isinstance(error, kind):
                return pause_s
        self._complain(f"client {self._number}: {error!r}")
        return ERROR_PAUSE_S
