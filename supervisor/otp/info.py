"""What `which_children` and `count_children` answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.otp.child import Child
from supervisor.otp.spec import ChildType
from supervisor.otp.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildInfo:
    """One child, as it was when asked."""

    id: str
    type: ChildType
    state: State
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCounts:
    """How many children, as OTP counts them."""

    specs: int  # whose spec is kept, running or not
    active: int  # that have a task
    supervisors: int
    workers: int


def info(child: Child) -> ChildInfo:
    """What is told about `child`."""
    return ChildInfo(id=child.id, type=child.spec.type, state=child.state, restarts=child.restarts)


def count(children: Iterable[Child]) -> ChildCounts:
    """Count `children`."""
    specs = active = supervisors = 0
    for child in children:
        specs += 1
        active += child.is_live
        supervisors += child.spec.type is ChildType.SUPERVISOR
    return ChildCounts(
        specs=specs, active=active, supervisors=supervisors, workers=specs - supervisors
    )
