"""The life of a container, every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from services.containers.lifecycle import TRANSITIONS, LifeEvent, next_state
from services.containers.model import State
from services.errors import Conflict

# Written out apart from the table, by event: from which states it leads where.
ALLOWED = {
    LifeEvent.STARTED: {
        State.CREATED: State.RUNNING,
        State.EXITED: State.RUNNING,
        State.RESTARTING: State.RUNNING,
    },
    LifeEvent.PAUSED: {State.RUNNING: State.PAUSED},
    LifeEvent.RESUMED: {State.PAUSED: State.RUNNING},
    LifeEvent.EXITED: {State.RUNNING: State.EXITED, State.PAUSED: State.EXITED},
    LifeEvent.RESTART_DUE: {
        State.RUNNING: State.RESTARTING,
        State.PAUSED: State.RESTARTING,
        State.RESTARTING: State.RESTARTING,
    },
    LifeEvent.GIVEN_UP: {State.RESTARTING: State.EXITED},
    LifeEvent.LOST: {
        State.RUNNING: State.EXITED,
        State.PAUSED: State.EXITED,
        State.RESTARTING: State.EXITED,
    },
    LifeEvent.REMOVAL_BEGUN: {
        State.CREATED: State.REMOVING,
        State.EXITED: State.REMOVING,
        State.DEAD: State.REMOVING,
        State.REMOVING: State.REMOVING,
    },
    LifeEvent.REMOVAL_FAILED: {State.REMOVING: State.DEAD},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, LifeEvent)))
def test_every_pair(state: State, event: LifeEvent) -> None:
    """A pair leads where it should, or is refused with a text that names both."""
    target = ALLOWED[event].get(state)
    if target is not None:
        assert next_state(state, event) is target
        return
    with pytest.raises(Conflict) as refusal:
        next_state(state, event)
    assert state.value in str(refusal.value)
    assert event.value in str(refusal.value)


def test_a_container_with_a_task_cannot_be_removed() -> None:
    """Only what has no task may vanish; who wants more stops it first."""
    for state in State:
        if state.has_task:
            assert (state, LifeEvent.REMOVAL_BEGUN) not in TRANSITIONS


def test_every_state_can_be_reached_and_left() -> None:
    """None is out of reach, and from each one a removal can be reached."""
    reachable = {State.CREATED}
    while more := {t for (s, _), t in TRANSITIONS.items() if s in reachable} - reachable:
        reachable |= more
    assert reachable == set(State)
    doomed = {State.REMOVING}
    while more := {s for (s, _), t in TRANSITIONS.items() if t in doomed} - doomed:
        doomed |= more
    assert doomed == set(State)
