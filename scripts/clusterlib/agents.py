"""Agents that run no containers: they move tasks on as the real ones do, at times given."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from clusterlib.store import MemoryStore
from services.cluster.model.objects import Stored, Task
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.model.task_state import TaskState

_BEFORE_READY = {
    TaskState.ASSIGNED: TaskState.ACCEPTED,
    TaskState.ACCEPTED: TaskState.PREPARING,
    TaskState.PREPARING: TaskState.READY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How a task goes. `lives_s` None: it runs until it is asked to stop. `prepare_ends` and
    `start_ends`: it gets no further than that, and ends so."""

    step_s: float = 0.1
    start_s: float = 0.5
    stop_s: float = 0.5
    lives_s: float | None = None
    ends: TaskState = TaskState.FAILED
    prepare_ends: TaskState | None = None
    start_ends: TaskState | None = None


@dataclass
class Agents:
    """All nodes' agents. `life_of` says how each task goes."""

    store: MemoryStore
    life_of: Callable[[Task], Life]
    cut_off: set[str] = field(default_factory=set)  # nodes of which nobody hears
    _due: list[tuple[datetime, int, str, TaskState]] = field(default_factory=list)
    _count: int = 0

    def notice(self, stored: Stored, now: datetime) -> None:
        """An object has changed."""
        if isinstance(stored, Task):
            self._plan(stored, now)

    def reconnect(self, node_id: str, now: datetime) -> None:
        """A node is heard of again, and goes on."""
        self.cut_off.discard(node_id)
        for task in self.store.tasks_of_node(node_id):
            self._plan(task, now)

    def next_at(self) -> datetime | None:
        """When an agent has something to say."""
        return self._due[0][0] if self._due else None

    def run(self, now: datetime) -> int:
        """Say all that is due. Tells how many tasks moved."""
        moved: list[Task] = []
        batch: list[Put] = []
        seen: set[str] = set()
        while self._due and self._due[0][0] <= now:
            _, _, task_id, state = heapq.heappop(self._due)
            task = self.store.tasks.get(task_id)
            if task is None or task_id in seen or task.node_id in self.cut_off:
                continue
            if task.status.state >= state or self._next(task, now)[0] is not state:
                continue  # it was asked something else meanwhile
            seen.add(task_id)
            moved.append(task)
            batch.append(Put(_moved(task, state, now)))
            if len(batch) == 60:
                self.store.commit(Transaction(tuple(batch)))
                batch = []
        if batch:
            self.store.commit(Transaction(tuple(batch)))
        return len(moved)

    def _plan(self, task: Task, now: datetime) -> None:
        state, after_s = self._next(task, now)
        if state is not None and task.node_id not in self.cut_off:
            self._count += 1
            at = now + timedelta(seconds=after_s)
            heapq.heappush(self._due, (at, self._count, task.id, state))

    def _next(self, task: Task, now: datetime) -> tuple[TaskState | None, float]:
        """The next state of a task, and after how long."""
        state, life = task.status.state, self.life_of(task)
        if state < TaskState.ASSIGNED or state.is_ended:
            return None, 0
        if task.desired_state > TaskState.COMPLETE:
            return TaskState.SHUTDOWN, life.stop_s
        if state is TaskState.PREPARING and life.prepare_ends is not None:
            return life.prepare_ends, life.step_s
        if state in _BEFORE_READY:
            return _BEFORE_READY[state], life.step_s
        if state is TaskState.READY:
            return (TaskState.STARTING if task.desired_state.is_to_run else None), life.step_s
        if state is TaskState.STARTING:
            return life.start_ends or TaskState.RUNNING, life.start_s
        if life.lives_s is None or task.status.running_at is None:
            return None, 0
        left = task.status.running_at + timedelta(seconds=life.lives_s) - now
        return life.ends, max(0.0, left.total_seconds())


def _moved(task: Task, state: TaskState, now: datetime) -> Task:
    status = replace(task.status, state=state, timestamp=now, message=state.wire)
    if state is TaskState.RUNNING:
        status = replace(status, running_at=now)
    return replace(task, status=status, updated_at=now)
