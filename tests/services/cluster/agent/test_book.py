"""`book`: every state reaches the managers, whatever becomes of sessions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import trio
import trio.testing

from services.cluster.agent.book import BATCH, StatusBook
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import TaskUpdate
from services.cluster.model.objects import Task
from services.cluster.model.task_state import TaskState
from services.errors import Unavailable
from tests.services.cluster.agent.support import task


class Managers:
    """A session that stores what it is told, unless it is lost; `later` comes meanwhile."""

    def __init__(self) -> None:
        self.told: list[list[tuple[str, TaskState]]] = []
        self.is_lost = False
        self.later: list[Task] = []
        self.book: StatusBook | None = None

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_lost:
            raise Unavailable("lost")
        while self.later and self.book is not None:
            self.book.put(self.later.pop())
        self.told.append([(one.task_id, one.status.state) for one in updates])


def seen(task_id: str, state: TaskState) -> Task:
    one = task(task_id=task_id)
    return msgspec.structs.replace(one, status=msgspec.structs.replace(one.status, state=state))


async def reported(book: StatusBook, managers: Managers) -> None:
    """Tell all that there is."""
    session: Session = managers  # type: ignore[assignment] # it is asked for reports only
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.report_to, session)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_the_newest_state_is_told_once() -> None:
    """What came before it is not told any more."""
    book, managers = StatusBook(), Managers()
    book.put(seen("a", TaskState.PREPARING))
    book.put(seen("a", TaskState.READY))
    book.put(seen("b", TaskState.RUNNING))
    book.put(seen("c", TaskState.RUNNING))
    book.forget("c")
    await reported(book, managers)
    assert managers.told == [[("a", TaskState.READY), ("b", TaskState.RUNNING)]]
    assert len(book) == 0
    await reported(book, managers)
    assert len(managers.told) == 1


async def test_what_was_not_stored_is_told_to_the_next() -> None:
    """A lost session loses nothing."""
    book, managers = StatusBook(), Managers()
    book.put(seen("a", TaskState.RUNNING))
    managers.is_lost = True
    with pytest.RaisesGroup(Unavailable):
        await reported(book, managers)
    managers.is_lost = False
    await reported(book, managers)
    assert managers.told == [[("a", TaskState.RUNNING)]]


async def test_what_changes_while_it_is_told_is_told_again() -> None:
    """The answer is for the older state."""
    book, managers = StatusBook(), Managers()
    managers.book, managers.later = book, [seen("a", TaskState.FAILED)]
    book.put(seen("a", TaskState.RUNNING))
    await reported(book, managers)
    assert managers.told == [[("a", TaskState.RUNNING)], [("a", TaskState.FAILED)]]


async def test_many_go_in_batches() -> None:
    """Each call is bounded."""
    book, managers = StatusBook(), Managers()
    for number in range(BATCH + 1):
        book.put(seen(f"t{number}", TaskState.RUNNING))
    await reported(book, managers)
    assert [len(batch) for batch in managers.told] == [BATCH, 1]
