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
    """No manager but the one that was hit may be silent for long. `host`: which one was.

    Attributes:
        resumed_s: from the fault until it has acknowledged a write that was asked for after it.
        longest_s: that, or a longer one until the swarm was whole again, and a little after.
    """

    fault: Fault
    host: str
    resumed_s: float
    longest_s: float

    def __str__(self) -> str:
        later = f", later for {self.longest_s:.2f} s" if self.longest_s > self.resumed_s else ""
        return (
            f"{self.fault.what} ({self.fault.host}) at {self.fault.struck_s:.1f} s: no write "
            f"acknowledged by {self.host} for {self.resumed_s:.2f} s{later}"
        )


def calm_silence_s(history: ClusterHistory, hosts: Iterable[str]) -> float:
    """The longest one before the first fault, and between two: what the machine itself takes."""
    calms = [history.calm_s]
    calms += [(one.mended_s, later.struck_s) for one, later in pairwise(history.faults)]
    return max(longest_s(_acknowledged(history, host), *calm) for host in hosts for calm in calms)


def silences(history: ClusterHistory, hosts: Sequence[str], end_s: float) -> list[Silence]:
    """Of each fault, those of each manager that was not hit."""
    found = []
    for number, fault in enumerate(history.faults):
        later = history.faults[number + 1 :]
        until_s = min([fault.mended_s + AFTER_S, end_s, *(f.struck_s for f in later)])
        for host in hosts:
            if host != fault.host:
                times = _acknowledged(history, host)
                first_s = min(_acknowledged(history, host, fault.struck_s), default=until_s)
                longest = longest_s(times, fault.struck_s, until_s)
                found.append(Silence(fault, host, first_s - fault.struck_s, longest))
    return found


def longest_s(times: Sequence[float], from_s: float, until_s: float) -> float:
    """The longest time without any of `times` that lies, in part, between the two."""
    inside = [time for time in times if from_s <= time <= until_s]
    edges = [from_s, *inside, until_s]
    return max((after - before for before, after in pairwise(edges)), default=0.0)


def _acknowledged(history: ClusterHistory, host: str, asked_from_s: float = 0.0) -> list[float]:
    def is_of_it(write: Write) -> bool:
        return bool(write.ok) and write.host == host and write.began_s >= asked_from_s

    return sorted(write.ended_s for write in history.writes if is_of_it(write))
