"""Asking containerd about all containers at once, and whether a record says the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from services.containerd import Containerd, ContainerRecord, TaskInfo, TaskStatus
from services.containers.model import State
from services.containers.restoring.found_containers import TASKS_LIMIT_S, agrees, ask_all
from services.errors import EngineError, Unavailable
from tests.services.containers.support import ID, container

PID = 4711


def task(status: TaskStatus = TaskStatus.RUNNING, pid: int = PID) -> TaskInfo:
    return TaskInfo(
        id=ID,
        pid=pid,
        status=status,
        exit_code=0,
        exited_at_ns=0,
        stdin="",
        stdout="",
        stderr="",
        terminal=False,
    )


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_record_agrees_with_the_same_state_alone(state: State, status: TaskStatus) -> None:
    """Every pair: running is running, paused is paused, and nothing else can be shown."""
    same = {(State.RUNNING, TaskStatus.RUNNING), (State.PAUSED, TaskStatus.PAUSED)}
    assert agrees(container(state), task(status)) is ((state, status) in same)


def test_a_record_agrees_with_its_own_task_alone() -> None:
    """Not with none, nor another run's, nor while an engine that is gone holds it."""
    subject = container(State.PAUSED)
    assert agrees(subject, task(TaskStatus.PAUSED))
    assert not agrees(subject, None)
    assert not agrees(subject, task(TaskStatus.PAUSED, pid=PID + 1))
    subject.replace(status=msgspec.structs.replace(subject.status, is_held=True))
    assert not agrees(subject, task(TaskStatus.PAUSED))


@dataclass
class FakeContainerd:
    """Answers both lists, each after its time or with an error."""

    tasks_take_s: float = 0.0
    tasks_error: EngineError | None = None
    records_error: EngineError | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> Any:
        return _Lists(self._tasks)

    @property
    def containers(self) -> Any:
        return _Lists(self._records)

    async def _tasks(self) -> list[TaskInfo]:
        self.asked.append("tasks")
        await trio.sleep(self.tasks_take_s)
        if self.tasks_error:
            raise self.tasks_error
        return [task()]

    async def _records(self, owner: str) -> list[ContainerRecord]:
        self.asked.append(owner)
        await trio.lowlevel.checkpoint()
        if self.records_error:
            raise self.records_error
        return [ContainerRecord(id=ID, spec=b"{}")]


@dataclass
class _Lists:
    list: Any


async def ask(fake: FakeContainerd, *, wants_tasks: bool = True) -> tuple[bool, bool]:
    """Whether a record and a task of the container were found."""
    found = await ask_all(cast(Containerd, fake), "owner", wants_tasks=wants_tasks)
    record, its_task = found.of(container())
    return record is not None, its_task is not None


async def test_records_and_tasks_are_asked_for_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Tasks only if they are wanted: later everybody knows its own."""
    fake = FakeContainerd()
    assert await ask(fake) == (True, True)
    assert sorted(fake.asked) == ["owner", "tasks"]
    assert await ask(FakeContainerd(), wants_tasks=False) == (True, False)


async def test_a_stuck_shim_costs_the_tasks_alone(autojump_clock: trio.testing.MockClock) -> None:
    """They are not waited for beyond the limit, and an error of theirs is none of the records."""
    assert await ask(FakeContainerd(tasks_take_s=100)) == (True, False)
    assert trio.current_time() == pytest.approx(TASKS_LIMIT_S)
    assert await ask(FakeContainerd(tasks_error=EngineError("no"))) == (True, False)


async def test_without_records_nothing_is_known(autojump_clock: trio.testing.MockClock) -> None:
    """The error is the caller's as it is, not a group."""
    with pytest.raises(Unavailable, match="away"):
        await ask(FakeContainerd(tasks_take_s=100, records_error=Unavailable("away")))
