"""How long no write was acknowledged: after each fault, and while nothing was broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .history import ClusterHistory, Fault, Write

RESUME_S: Final = 3.0
"""What is promised of managers that were not hit themselves.

Their etcds miss the leader after 0.5 to 1 s and elect another one in less than that; a call that
was on its way then is sent again within a second. A link that is cut makes no difference to them:
who was not told of an end misses the leader as fast.
"""
AFTER_S: Final = 3.0  # what comes back may hold nobody up either


@dataclass(frozen=True, slots=True)
class Silence:
    """No manager but the one that was hit may be silent for long. `host`: which one was."""

    fault: Fault
    host: str
    length_s: float

    def __str__(self) -> str:
        return (
            f"{self.fault.what} ({self.fault.host}) at {self.fault.struck_s:.1f} s: no write "
            f"acknowledged by {self.host} for {self.length_s:.2f} s"
        )


def calm_silence_s(history: ClusterHistory, hosts: Iterable[str]) -> float:
    """The longest one before the first fault: what the machine itself takes."""
    return max(longest_s(_acknowledged(history, host), *history.calm_s) for host in hosts)


def silences(history: ClusterHistory, hosts: Sequence[str], end_s: float) -> list[Silence]:
    """Of each fault, the longest silence of each manager that was not hit."""
    found = []
    for number, fault in enumerate(history.faults):
        later = history.faults[number + 1 :]
        until_s = min([fault.mended_s + AFTER_S, end_s, *(f.struck_s for f in later)])
        for host in hosts:
            if host != fault.host:
                times = _acknowledged(history, host)
                found.append(Silence(fault, host, longest_s(times, fault.struck_s, until_s)))
    return found


def longest_s(times: Sequence[float], from_s: float, until_s: float) -> float:
    """The longest time without any of `times` that lies, in part, between the two."""
    inside = [time for time in times if from_s <= time <= until_s]
    edges = [from_s, *inside, until_s]
    return max((after - before for before, after in pairwise(edges)), default=0.0)


def _acknowledged(history: ClusterHistory, host: str) -> list[float]:
    def is_of_it(write: Write) -> bool:
        return bool(write.ok) and write.host == host

    return sorted(write.ended_s for write in history.writes if is_of_it(write))
