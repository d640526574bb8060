"""What nodes report of their tasks, gathered from all sessions and written together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import trio
from loguru import logger

from services.cluster.dispatcher.values import TaskUpdate
from services.cluster.model.batches import batches
from services.cluster.model.objects import Task, TaskStatus
from services.cluster.model.snapshot import Put, Snapshot, Transaction
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.cluster.store.contract import ClusterStore, OutOfSequence
from services.errors import EngineError, Unavailable

# The leader writes tasks too. Each conflict means that somebody has got on; so many in a row do not
# happen to a writer that reads anew each time.
ATTEMPTS: Final = 20
WRITE_LIMIT_S: Final = 10.0

log = logger.bind(service="cluster.dispatcher")


def merged(task: Task, status: TaskStatus) -> TaskStatus | None:
    """A task's status once a report was heard; None when it says nothing new.

    States only go forward. The same state may be told with more detail (a health check's ports, a
    message). When it first ran is kept whatever comes after.
    """
    before = task.status
    if status.state < before.state or (before.state.is_ended and status.state != before.state):
        return None
    running_at = before.running_at or status.running_at
    if status.state == TaskState.RUNNING and running_at is None:
        running_at = status.timestamp
    after = msgspec.structs.replace(status, running_at=running_at)
    return None if after == before else after


def status_transactions(
    snapshot: Snapshot, reports: Iterable[tuple[str, TaskUpdate]], now: datetime
) -> tuple[Transaction, ...]:
    """What is to be written for reports, each with the node that it came from.

    A report of a task that is not that node's is passed over: so a node cannot write about others.
    """
    changed: dict[str, Task] = {}
    for node_id, update in reports:
        task = changed.get(update.task_id) or snapshot.tasks.get(update.task_id)
        if task is None or task.node_id != node_id:
            continue
        status = merged(task, update.status)
        if status is not None:
            changed[task.id] = msgspec.structs.replace(task, status=status, updated_at=now)
    return batches((Put(task),) for task in changed.values())


class _Batch:
    """Reports that are written together, and how that ended."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, TaskUpdate]] = []
        self.done = trio.Event()
        self.error: EngineError | None = None


class StatusWriter:
    """`run` is its owner's task. While one batch is written, the next one gathers."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._gathering = _Batch()
        self._has_some = trio.Event()

    async def write(self, node_id: str, updates: Sequence[TaskUpdate]) -> None:
        """Returns once it is stored. Raises Unavailable when that fails or takes too long."""
        if not updates:
            return
        batch = self._gathering
        batch.reports.extend((node_id, update) for update in updates)
        self._has_some.set()
        with trio.move_on_after(WRITE_LIMIT_S):
            await batch.done.wait()
            if batch.error is not None:
                raise Unavailable(str(batch.error)) from batch.error
            return
        raise Unavailable(f"the managers have not stored it in {WRITE_LIMIT_S:g} s")

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._has_some.wait()
            batch, self._gathering = self._gathering, _Batch()
            self._has_some = trio.Event()
            try:
                await self._write(batch)
            except EngineError as error:
                log.bind(error=str(error)).warning("task states could not be stored")
                batch.error = error
            finally:
                batch.done.set()

    async def _write(self, batch: _Batch) -> None:
        for _ in range(ATTEMPTS):
            snapshot = self._store.snapshot()
            transactions = status_transactions(snapshot, batch.reports, utc_now())
            try:
                await self._store.commit(*transactions)
            except OutOfSequence:
                continue
            return
        raise Unavailable("tasks change faster than their states can be stored")
