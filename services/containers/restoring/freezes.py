"""Pauses and resumes that containerd tells of.

A pause that was given up may still come to pass, and others can pause our tasks.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from services.containerd import TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.containers.restoring.found_task import Tasks, task_of
from services.errors import EngineError

log = logger.bind(service="containers")

WAITING_LIMIT: Final = 1000


class Freezes:
    """Has the records say whether containers are paused."""

    def __init__(self, *, tasks: Tasks, journal: Journal) -> None:
        self._tasks = tasks
        self._journal = journal
        self._waiting: trio.MemorySendChannel[Container] | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at those that were noted, until cancelled."""
        self._waiting, containers = trio.open_memory_channel[Container](WAITING_LIMIT)
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for container in containers:
                nursery.start_soon(self.check, container)

    def note(self, container: Container) -> None:
        """It was paused or resumed; with too many of these the next reconciliation sees it."""
        if self._waiting is not None:
            with suppress(trio.WouldBlock):
                self._waiting.send_nowait(container)

    async def check(self, container: Container) -> None:
        """Take over from containerd whether a container is paused. Never fails."""
        try:
            async with container.turn("a look at its state"):
                has_task = container.state.has_task
                task = await task_of(self._tasks, container) if has_task else None
                if task is not None and container.state.has_task:
                    await self.correct(container, task)
        except EngineError as error:
            log.warning("state not looked at", container=container.id, error=str(error))

    async def correct(self, container: Container, task: TaskInfo) -> None:
        """As containerd says it is. The caller has the container's turn."""
        is_frozen = container.state is State.PAUSED
        if task.status in (TaskStatus.PAUSED, TaskStatus.PAUSING) and not is_frozen:
            happened = LifeEvent.PAUSED
        elif task.status is TaskStatus.RUNNING and is_frozen:
            happened = LifeEvent.RESUMED
        else:
            return
        event = container_event(container, happened.value)
        state = next_state(container.state, happened)
        await self._journal.change_status(container, event, state=state)
