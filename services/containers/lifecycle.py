"""The life of a container: one table, and nothing else.

An event that is not in the table for the present state is refused and changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.containers.model import State
from services.errors import Conflict


class LifeEvent(enum.StrEnum):
    """What can happen to a container."""

    STARTED = "start"
    PAUSED = "pause"
    RESUMED = "unpause"
    EXITED = "exit"
    RESTART_DUE = "restart"  # it exited, and its policy wants it back after a delay
    GIVEN_UP = "stop"  # the delayed restart was called off
    LOST = "loss"  # it was to run, and containerd or the kernel knows nothing of it
    REMOVAL_BEGUN = "remove"
    REMOVAL_FAILED = "removal failure"


TRANSITIONS: Final[Mapping[tuple[State, LifeEvent], State]] = MappingProxyType(
    {
        (State.CREATED, LifeEvent.STARTED): State.RUNNING,
        (State.EXITED, LifeEvent.STARTED): State.RUNNING,
        (State.RESTARTING, LifeEvent.STARTED): State.RUNNING,
        (State.RUNNING, LifeEvent.PAUSED): State.PAUSED,
        (State.PAUSED, LifeEvent.RESUMED): State.RUNNING,
        (State.RUNNING, LifeEvent.EXITED): State.EXITED,
        (State.PAUSED, LifeEvent.EXITED): State.EXITED,  # SIGKILL ends a frozen task on cgroup v2
        (State.RUNNING, LifeEvent.RESTART_DUE): State.RESTARTING,
        (State.PAUSED, LifeEvent.RESTART_DUE): State.RESTARTING,
        (State.RESTARTING, LifeEvent.GIVEN_UP): State.EXITED,
        (State.RUNNING, LifeEvent.LOST): State.EXITED,
        (State.PAUSED, LifeEvent.LOST): State.EXITED,
        (State.RESTARTING, LifeEvent.LOST): State.EXITED,
        # A start that fails leaves the container where it was, so that it can be tried again.
        (State.RESTARTING, LifeEvent.RESTART_DUE): State.RESTARTING,
        (State.CREATED, LifeEvent.REMOVAL_BEGUN): State.REMOVING,
        (State.EXITED, LifeEvent.REMOVAL_BEGUN): State.REMOVING,
        (State.DEAD, LifeEvent.REMOVAL_BEGUN): State.REMOVING,
        # Again after a crash in the middle of a removal.
        (State.REMOVING, LifeEvent.REMOVAL_BEGUN): State.REMOVING,
        (State.REMOVING, LifeEvent.REMOVAL_FAILED): State.DEAD,
    }
)


def next_state(state: State, event: LifeEvent) -> State:
    """The state after `event`.

    Raises:
        Conflict: the table has no such transition; the message names both.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(f"cannot {event.value} a container that is {state.value}") from None
