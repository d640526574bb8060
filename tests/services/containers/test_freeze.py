"""Freezing: what is told of a container whose end containerd knows before us."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.containers.freeze import Freezer
from services.containers.model import State
from services.errors import Conflict, NotFound
from tests.services.containers.support import MemoryJournal, container


class EndedTasks:
    """containerd after the process's end."""

    async def pause(self, container_id: str, /) -> None:
        raise NotFound("cannot pause a stopped container")

    async def resume(self, container_id: str, /) -> None:
        raise NotFound("cannot resume a stopped container")


def build() -> tuple[Freezer, MemoryJournal]:
    """A freezer of containers that have ended."""
    journal = MemoryJournal()
    return Freezer(tasks=EndedTasks(), journal=cast(Any, journal)), journal


async def test_a_pause_after_the_end() -> None:
    """It does not run: a conflict, no fault of the engine; nothing is recorded."""
    freezer, journal = build()
    subject = container(State.RUNNING)
    with pytest.raises(Conflict, match="is not running"):
        await freezer.pause(subject)
    assert (subject.state, journal.events) == (State.RUNNING, [])


async def test_an_unpause_after_the_end() -> None:
    """The same."""
    freezer, journal = build()
    subject = container(State.PAUSED)
    with pytest.raises(Conflict, match="is not running"):
        await freezer.unpause(subject)
    assert (subject.state, journal.events) == (State.PAUSED, [])


async def test_what_was_held_is_let_go() -> None:
    """Also of one that ended while it was frozen: nobody holds it any more."""
    freezer, _ = build()
    subject = container(State.RUNNING)
    with pytest.raises(Conflict, match="is not running"):
        await freezer.hold(subject)
    assert [subject.status.is_held] == [True]
    await freezer.let_go(subject)
    assert [subject.status.is_held] == [False]
    frozen = container(State.PAUSED)
    await cast(Any, MemoryJournal()).change_status(frozen, is_held=True)
    await freezer.let_go(frozen)
    assert not frozen.status.is_held
