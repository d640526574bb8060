"""What containerd says now wins over what was heard: seen twice, counted, mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
import trio

from services.containerd import TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.model import State
from services.containers.restoring.reconcile import (
    AGAIN_S,
    ANSWER_LIMIT_S,
    ROUND_S,
    Divergence,
    Reconciler,
    divergence_of,
)
from services.containers.table import ContainerTable
from services.errors import EngineError, NotFound, Unavailable
from tests.services.containers.support import FakeConnection, container


def task(status: TaskStatus) -> TaskInfo:
    """containerd's word on a task."""
    return TaskInfo(
        id="c", pid=1, status=status, exit_code=0, exited_at_ns=0, stdin="", stdout="", stderr="",
        terminal=False,
    )  # fmt: skip


EXPECTED = {
    (State.RUNNING, None): Divergence.NO_TASK,
    (State.PAUSED, None): Divergence.NO_TASK,
    (State.RUNNING, TaskStatus.STOPPED): Divergence.ENDED,
    (State.PAUSED, TaskStatus.STOPPED): Divergence.ENDED,
    (State.RUNNING, TaskStatus.PAUSED): Divergence.FROZEN,
    (State.PAUSED, TaskStatus.RUNNING): Divergence.THAWED,
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("status", [None, *TaskStatus])
def test_every_pair_of_record_and_answer(state: State, status: TaskStatus | None) -> None:
    """Only a container with a task by its record can differ; all else is on its way or agrees."""
    known = task(status) if status is not None else None
    assert divergence_of(container(state), known) == EXPECTED.get((state, status))


@dataclass
class Tasks:
    """Answers with what `answer` says; counts the questions."""

    answer: Callable[[], TaskInfo] = lambda: task(TaskStatus.RUNNING)
    asked: list[float] = field(default_factory=list)

    async def get(self, container_id: str) -> TaskInfo:
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return self.answer()


@dataclass
class Records:
    """The containers of ours that containerd has."""

    ids: list[str] = field(default_factory=list)

    async def list(self, _filter: str) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [type("Record", (), {"id": i}) for i in self.ids]


@dataclass
class Containerd:
    """What a reconciler calls of containerd."""

    tasks: Tasks = field(default_factory=Tasks)
    containers: Records = field(default_factory=Records)
    connection: FakeConnection = field(default_factory=FakeConnection)


@dataclass
class OneRun:
    """Counts how often its exit was asked for again."""

    asked_again: int = 0

    def ask_again(self) -> None:
        self.asked_again += 1


@dataclass
class Scene:
    """A running container with its run, and what is done about it."""

    subject: Container = field(default_factory=lambda: container(State.RUNNING))
    containerd: Containerd = field(default_factory=Containerd)
    run: OneRun | None = field(default_factory=OneRun)
    reconciled: int = 0
    freezes: int = 0
    tidied: int = 0
    finished: int = 0

    def get(self, _container: Container) -> OneRun | None:
        return self.run

    async def reconcile(self) -> None:
        self.reconciled += 1

    async def check_freeze(self, _container: Container) -> None:
        self.freezes += 1

    async def tidy(self, _container: Container) -> None:
        self.tidied += 1

    async def finish(self, _container: Container) -> None:
        self.finished += 1

    async def rounds(self, count: int) -> Reconciler:
        """Let that many rounds pass."""
        table = ContainerTable()
        table.add(self.subject)
        reconciler = Reconciler(
            containerd=cast(Any, self.containerd),
            table=table,
            runs=cast(Any, self),
            mender=self,
            engine_id="engine",
            tidy=self.tidy,
            finish=self.finish,
            now_ns=lambda: 7,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(reconciler.run)
            while reconciler.rounds < count:
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return reconciler


def raises(error: Exception) -> Callable[[], TaskInfo]:
    """An answer that is an error."""

    def answer() -> TaskInfo:
        raise error

    return answer


async def test_agreement_costs_one_question_a_round(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Spread over the round, and nothing is done."""
    scene = Scene()
    reconciler = await scene.rounds(3)
    assert len(scene.containerd.tasks.asked) == 3
    assert scene.containerd.tasks.asked[1] - scene.containerd.tasks.asked[0] >= ROUND_S
    assert dict(reconciler.divergences) == {}
    assert (scene.reconciled, scene.freezes, scene.tidied) == (0, 0, 3)
    assert scene.finished == 0


async def test_a_failed_removal_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """Once a round: what was in its way may be gone."""
    scene = Scene(subject=container(State.DEAD))
    reconciler = await scene.rounds(3)
    # The next round may have begun.
    assert scene.finished - reconciler.rounds in (0, 1)


async def test_a_lost_exit_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    """Its supervisor asks once more; after a second look only."""
    scene = Scene(containerd=Containerd(tasks=Tasks(raises(NotFound("no running task found")))))
    reconciler = await scene.rounds(1)
    assert scene.run is not None
    assert scene.run.asked_again == 1
    first, second = scene.containerd.tasks.asked
    assert second - first >= AGAIN_S
    assert dict(reconciler.divergences) == {Divergence.NO_TASK: 1}


async def test_without_a_supervisor_everything_is_compared(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What runs by its record and has nobody is the restorer's."""
    scene = Scene(run=None)
    scene.containerd.tasks.answer = lambda: task(TaskStatus.STOPPED)
    await scene.rounds(1)
    assert scene.reconciled == 1


async def test_what_changes_between_two_looks_is_on_its_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A container that was recorded meanwhile is left alone."""
    scene = Scene()
    answers = [TaskStatus.PAUSED, TaskStatus.RUNNING]
    scene.containerd.tasks.answer = lambda: task(answers.pop(0) if answers else TaskStatus.RUNNING)
    reconciler = await scene.rounds(2)
    assert (scene.freezes, dict(reconciler.divergences)) == (0, {})


async def test_a_freeze_by_others_is_taken_over(autojump_clock: trio.testing.MockClock) -> None:
    """As the restorer does."""
    scene = Scene()
    scene.containerd.tasks.answer = lambda: task(TaskStatus.PAUSED)
    await scene.rounds(1)
    assert scene.freezes == 1


@pytest.mark.parametrize("how", ["too late", "an error", "unknown"])
async def test_one_that_does_not_answer_says_since_when(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """Its state stays what it was; when it answers again, that is over."""
    scene = Scene()
    tasks = scene.containerd.tasks

    async def get(container_id: str) -> TaskInfo:
        tasks.asked.append(trio.current_time())
        if how == "too late":
            await trio.sleep(ANSWER_LIMIT_S + 1)
        if how == "unknown":
            return task(TaskStatus.UNKNOWN)
        raise EngineError("ttrpc: closed")

    cast(Any, tasks).get = get
    reconciler = await scene.rounds(2)
    assert scene.subject.unreadable_since_ns == 7
    assert scene.subject.state is State.RUNNING
    assert dict(reconciler.divergences) == {}
    scene.containerd.tasks = Tasks()
    await scene.rounds(1)
    assert scene.subject.unreadable_since_ns is None


def test_an_end_is_an_answer() -> None:
    """One that has ended is not waited for any more."""
    subject = container(State.RUNNING)
    subject.set_unreadable(7)
    subject.replace(status=msgspec.structs.replace(subject.status, state=State.EXITED))
    assert subject.unreadable_since_ns is None


async def test_what_nobody_runs_is_reclaimed(autojump_clock: trio.testing.MockClock) -> None:
    """A container of ours in containerd that has no record, seen twice."""
    scene = Scene()
    scene.containerd.containers.ids = ["x" * 64, scene.subject.id]
    reconciler = await scene.rounds(1)
    assert scene.reconciled == 1
    assert dict(reconciler.divergences) == {Divergence.UNKNOWN: 1}


async def test_while_containerd_is_away_nothing_is_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its absence is not a container's; the next round begins when it is back."""
    scene = Scene()
    answers: list[Exception | None] = [Unavailable("away"), None]

    def answer() -> TaskInfo:
        error = answers.pop(0) if answers else None
        if error is not None:
            raise error
        return task(TaskStatus.RUNNING)

    scene.containerd.tasks.answer = answer
    reconciler = await scene.rounds(1)
    assert scene.subject.unreadable_since_ns is None
    assert dict(reconciler.divergences) == {}
    assert scene.containerd.connection.waits == 3
