"""What an agent does next for a task: one table over its state and what is asked of it. Pure.

Source: swarmkit, agent/exec/controller.go, Do.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.cluster.model.task_state import TaskState


class Step(enum.Enum):
    """What is to be done, or that nothing is until something else is asked."""

    ACCEPT = "accept"
    BEGIN = "begin"
    PREPARE = "prepare"  # image, files, container
    BEGIN_START = "begin to start"
    START = "start"  # until it runs, and is healthy if it has a check
    FOLLOW = "follow"  # until it ends
    STOP = "stop"
    REST = "rest"


AFTER: Final[Mapping[Step, tuple[TaskState, str]]] = MappingProxyType(
    {
        Step.ACCEPT: (TaskState.ACCEPTED, "accepted"),
        Step.BEGIN: (TaskState.PREPARING, "preparing"),
        Step.PREPARE: (TaskState.READY, "prepared"),
        Step.BEGIN_START: (TaskState.STARTING, "starting"),
        Step.START: (TaskState.RUNNING, "started"),
        Step.FOLLOW: (TaskState.COMPLETE, "finished"),
        Step.STOP: (TaskState.SHUTDOWN, "shutdown"),
    }
)
"""What a step that was done leads to, and swarm's word for it."""

_WORK: Final[Mapping[TaskState, Step]] = MappingProxyType(
    {
        TaskState.PREPARING: Step.PREPARE,
        TaskState.STARTING: Step.START,
        TaskState.RUNNING: Step.FOLLOW,
    }
)
"""States in which something is under way: it goes on, whatever less is asked."""

_PAUSES: Final[Mapping[TaskState, Step]] = MappingProxyType(
    {
        TaskState.NEW: Step.ACCEPT,
        TaskState.PENDING: Step.ACCEPT,
        TaskState.ASSIGNED: Step.ACCEPT,
        TaskState.ACCEPTED: Step.BEGIN,
        TaskState.READY: Step.BEGIN_START,
    }
)
"""States that are only left when more is asked for."""


def next_step(state: TaskState, desired: TaskState) -> Step:
    """What to do for a task in `state` of which `desired` is asked."""
    if state.is_ended:
        return Step.REST
    if desired >= TaskState.SHUTDOWN:
        return Step.STOP
    if state in _WORK:
        return _WORK[state]
    return _PAUSES[state] if desired > state else Step.REST


def failed_state(state: TaskState) -> TaskState:
    """What a task in `state` becomes when a step failed for good."""
    return TaskState.REJECTED if state < TaskState.STARTING else TaskState.FAILED
