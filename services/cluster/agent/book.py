"""What is to be told to the managers of tasks, until they have stored it."""

from __future__ import annotations

from typing import Final

import trio

from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import TaskUpdate
from services.cluster.model.objects import Task, TaskStatus

BATCH: Final = 200
"""Updates in one call; the rest goes with the next."""


class StatusBook:
    """The newest status of each task that the managers may not know; one entry a task."""

    def __init__(self) -> None:
        self._pending: dict[str, TaskStatus] = {}
        self._has_pending = trio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, task: Task) -> None:
        """To be told; replaces what was to be told of it."""
        self._pending[task.id] = task.status
        self._has_pending.set()

    def forget(self, task_id: str) -> None:
        """It is no task of this node's any more."""
        self._pending.pop(task_id, None)

    async def report_to(self, session: Session) -> None:
        """Tell what there is and what comes, until the session is lost (Unavailable).

        What was told and not answered is told again in the next session.
        """
        while True:
            self._has_pending = trio.Event()
            while self._pending:
                batch = dict(list(self._pending.items())[:BATCH])
                await session.update_status(
                    [TaskUpdate(task_id=i, status=status) for i, status in batch.items()]
                )
                for task_id, status in batch.items():
                    if self._pending.get(task_id) is status:  # or it has changed meanwhile
                        del self._pending[task_id]
            await self._has_pending.wait()
