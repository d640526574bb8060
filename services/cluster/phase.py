"""A node's phases in and out of clusters: which may follow which, and what clients are told."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

from services.errors import Conflict


class Phase(StrEnum):
    """The values are the API's LocalNodeState."""

    INACTIVE = "inactive"
    PENDING = "pending"  # on its way into a cluster, or back into it
    ACTIVE = "active"
    LOCKED = "locked"
    ERROR = "error"


class Step(Enum):
    """What happens to it."""

    BEGIN = "begin"  # init, join, or found on disk
    FIND_LOCKED = "find locked"
    UNLOCK = "unlock"
    ARRIVE = "arrive"
    CHANGE_ROLE = "change role"
    FAIL = "fail"
    LEAVE = "leave"


TRANSITIONS: Final[Mapping[tuple[Phase, Step], Phase]] = MappingProxyType(
    {
        (Phase.INACTIVE, Step.BEGIN): Phase.PENDING,
        (Phase.INACTIVE, Step.FIND_LOCKED): Phase.LOCKED,
        (Phase.INACTIVE, Step.FAIL): Phase.ERROR,
        (Phase.LOCKED, Step.UNLOCK): Phase.PENDING,
        (Phase.LOCKED, Step.LEAVE): Phase.INACTIVE,
        (Phase.LOCKED, Step.FIND_LOCKED): Phase.LOCKED,
        (Phase.PENDING, Step.BEGIN): Phase.PENDING,
        (Phase.PENDING, Step.ARRIVE): Phase.ACTIVE,
        (Phase.PENDING, Step.CHANGE_ROLE): Phase.PENDING,
        (Phase.PENDING, Step.FAIL): Phase.ERROR,
        (Phase.PENDING, Step.LEAVE): Phase.INACTIVE,
        (Phase.ACTIVE, Step.ARRIVE): Phase.ACTIVE,
        (Phase.ACTIVE, Step.CHANGE_ROLE): Phase.PENDING,
        (Phase.ACTIVE, Step.FAIL): Phase.ERROR,
        (Phase.ACTIVE, Step.BEGIN): Phase.PENDING,  # a cluster is made anew of what is left
        (Phase.ACTIVE, Step.LEAVE): Phase.INACTIVE,
        (Phase.ERROR, Step.ARRIVE): Phase.ACTIVE,
        (Phase.ERROR, Step.BEGIN): Phase.PENDING,
        (Phase.ERROR, Step.CHANGE_ROLE): Phase.PENDING,
        (Phase.ERROR, Step.FAIL): Phase.ERROR,
        (Phase.ERROR, Step.LEAVE): Phase.INACTIVE,
    }
)


def after(phase: Phase, step: Step) -> Phase:
    """The next phase. Raises Conflict for a step that cannot be taken in this one."""
    try:
        return TRANSITIONS[phase, step]
    except KeyError:
        raise Conflict(f"a node that is {phase.value} in a swarm cannot {step.value}") from None
