"""`steps`: the table over all pairs of state and desired state."""

from __future__ import annotations

import itertools

import pytest

from services.cluster.agent.steps import AFTER, Step, failed_state, next_step
from services.cluster.model.task_state import TaskState, may_follow

PAIRS = list(itertools.product(TaskState, TaskState))


@pytest.mark.parametrize(("state", "desired"), PAIRS)
def test_every_pair(state: TaskState, desired: TaskState) -> None:
    """A step leads forward; what has ended rests; what is to end is stopped, whatever it does."""
    step = next_step(state, desired)
    if state.is_ended:
        assert step is Step.REST
    elif desired >= TaskState.SHUTDOWN:
        assert step is Step.STOP
    if step is Step.REST:
        return
    after, _ = AFTER[step]
    assert may_follow(state, after)
    assert may_follow(state, failed_state(state))


def walked(desired: TaskState) -> list[TaskState]:
    states = [TaskState.ASSIGNED]
    while (step := next_step(states[-1], desired)) is not Step.REST:
        states.append(AFTER[step][0])
    return states


def test_to_run() -> None:
    """All the way, and to its end."""
    assert walked(TaskState.RUNNING) == [
        TaskState.ASSIGNED,
        TaskState.ACCEPTED,
        TaskState.PREPARING,
        TaskState.READY,
        TaskState.STARTING,
        TaskState.RUNNING,
        TaskState.COMPLETE,
    ]


def test_to_be_ready() -> None:
    """The container is made, and waits: for a restart's delay, or for the one it replaces."""
    assert walked(TaskState.READY)[-1] is TaskState.READY


@pytest.mark.parametrize("desired", [TaskState.SHUTDOWN, TaskState.REMOVE])
def test_to_end(desired: TaskState) -> None:
    """At once, though nothing was begun."""
    assert walked(desired) == [TaskState.ASSIGNED, TaskState.SHUTDOWN]


@pytest.mark.parametrize("state", list(TaskState))
def test_failures(state: TaskState) -> None:
    """Before the start it is rejected, from then on it failed."""
    expected = TaskState.REJECTED if state < TaskState.STARTING else TaskState.FAILED
    assert failed_state(state) is expected
