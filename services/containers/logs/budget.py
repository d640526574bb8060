"""What has to go so that all logs together keep to a budget: a pure function of their sizes.

The oldest rotated file of the largest log goes first, and so on until the rest fits. When no log
has a rotated file left, the largest newest file is rotated, and goes as such. So that this need not
cost a log its latest lines too, a large one without rotated files is rotated ahead, when three
quarters of the budget are used.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from services.containers.logs.usage import LogUsage

AHEAD: Final = 0.75  # of the budget
_LARGE: Final = 0.125  # of the budget


class Do(Enum):
    """What may be done to a log."""

    DROP = "drop"  # its oldest file but the newest
    ROTATE = "rotate"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; `log` is a key of what was asked about."""

    log: str
    do: Do


def make_room(usages: Mapping[str, LogUsage], budget_bytes: int) -> list[Step]:
    """What to do, in this order. Empty: all is well."""
    used = sum(usage.total for usage in usages.values())
    steps: list[Step] = []
    remaining = dict(usages)
    if used > budget_bytes:
        used = _drop_older(remaining, used, budget_bytes, steps)
    if used > budget_bytes:
        used = _drop_newest(remaining, used, budget_bytes, steps)
    if used > budget_bytes * AHEAD:
        steps += [
            Step(log, Do.ROTATE)
            for log, usage in remaining.items()
            if not usage.older and usage.newest > budget_bytes * _LARGE
        ]
    return steps


def _drop_older(
    remaining: dict[str, LogUsage], used: int, budget_bytes: int, steps: list[Step]
) -> int:
    largest = [(-usage.total, log) for log, usage in remaining.items() if usage.older]
    heapq.heapify(largest)
    while largest and used > budget_bytes:
        _, log = heapq.heappop(largest)
        usage = remaining[log]
        left = remaining[log] = LogUsage(usage.newest, usage.older[1:])
        used -= usage.older[0]
        steps.append(Step(log, Do.DROP))
        if left.older:
            heapq.heappush(largest, (-left.total, log))
    return used


def _drop_newest(
    remaining: dict[str, LogUsage], used: int, budget_bytes: int, steps: list[Step]
) -> int:
    for log in sorted(remaining, key=lambda log: -remaining[log].newest):
        if used <= budget_bytes:
            break
        used -= remaining[log].newest
        remaining[log] = LogUsage()
        steps += [Step(log, Do.ROTATE), Step(log, Do.DROP)]
    return used
