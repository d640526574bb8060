"""A task's states, as swarm has them, and which of them may follow which.

A task only ever goes forward. What is asked of it (its desired state) only ever goes forward too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class TaskState(IntEnum):
    """The order is the order of a task's life; the numbers are swarmkit's."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800  # desired only: its service was removed, or it was scaled away
    ORPHANED = 832

    @property
    def wire(self) -> str:
        """The API's word."""
        return self.name.lower()

    @property
    def is_ended(self) -> bool:
        """Whether nothing runs any more, and never will."""
        return self > TaskState.RUNNING

    @property
    def is_to_run(self) -> bool:
        """As a desired state: whether the agent shall start it. A job's task is to COMPLETE."""
        return self in (TaskState.RUNNING, TaskState.COMPLETE)


BY_WORD: Final = {state.wire: state for state in TaskState}


def may_follow(before: TaskState, after: TaskState) -> bool:
    """Whether a task that was seen in one state may be said to be in another."""
    return after > before
