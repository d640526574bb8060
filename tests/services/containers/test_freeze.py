"""Freezing: what is told of a container whose end containerd knows before us."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
import trio.testing

from services.containers.container import Container
from services.containers.freeze import Freezer
from services.containers.model import State
from services.errors import Conflict, DeadlineExceeded, NotFound
from tests.services.containers.support import MemoryJournal, container


class EndedTasks:
    """containerd after the process's end."""

    async def pause(self, container_id: str, /) -> None:
        raise NotFound("cannot pause a stopped container")

    async def resume(self, container_id: str, /) -> None:
        raise NotFound("cannot resume a stopped container")


@dataclass(eq=False)
class OneRun:
    """One run, of every container; and the only one itself."""

    exec_turns: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))

    def get(self, container: Container, /) -> OneRun:
        return self


@dataclass
class Tasks:
    """Freezes at once, and remembers when."""

    paused_at: list[float] = field(default_factory=list)

    async def pause(self, container_id: str, /) -> None:
        self.paused_at.append(trio.current_time())

    async def resume(self, container_id: str, /) -> None:
        pass


def build() -> tuple[Freezer, MemoryJournal]:
    """A freezer of containers that have ended."""
    journal = MemoryJournal()
    return Freezer(tasks=EndedTasks(), journal=cast(Any, journal), runs=OneRun()), journal


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


async def test_nothing_is_frozen_while_an_exec_starts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """runc would be frozen half-way, and its shim with it, for good."""
    tasks, runs = Tasks(), OneRun()
    freezer = Freezer(tasks=tasks, journal=cast(Any, MemoryJournal()), runs=runs)
    subject = container(State.RUNNING)
    async with trio.open_nursery() as nursery:
        runs.exec_turns.acquire_on_behalf_of_nowait(runs)
        nursery.start_soon(freezer.pause, subject)
        await trio.sleep(5)
        assert tasks.paused_at == []
        runs.exec_turns.release_on_behalf_of(runs)
    assert tasks.paused_at == [5]
    assert subject.state is State.PAUSED
    await freezer.unpause(subject)
    runs.exec_turns.acquire_on_behalf_of_nowait(runs)
    with pytest.raises(DeadlineExceeded, match="a command in it does not come to start"):
        await freezer.pause(subject)
    runs.exec_turns.release_on_behalf_of(runs)
    assert runs.exec_turns.borrowed_tokens == 0
    assert len(tasks.paused_at) == 1
