"""What containerd says of all containers at once, as the engine asks it at its start.

A question for each would be most of the time to the API's first answer: containerd answers it in
0.3 ms, and it takes 2 ms of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd, ContainerRecord, TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.model import State
from services.errors import EngineError, single_error

log = logger.bind(service="containers")

TASKS_LIMIT_S: Final = 1.0
"""containerd asks one shim after the other, and waits 2 s for one that is stuck. Whoever is not in
an answer that came in time is asked for alone."""

_SAME: Final = frozenset(
    {(State.RUNNING, TaskStatus.RUNNING), (State.PAUSED, TaskStatus.PAUSED)},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What containerd has of ours, by the container's id.

    `tasks` holds only what was known in time; that one is missing says nothing.
    """

    records: Mapping[str, ContainerRecord]
    tasks: Mapping[str, TaskInfo]

    def of(self, container: Container) -> tuple[ContainerRecord | None, TaskInfo | None]:
        """What it has of this one."""
        return self.records.get(container.id), self.tasks.get(container.id)


async def ask_all(containerd: Containerd, owner: str, *, wants_tasks: bool) -> Found:
    """Records that match the filter `owner`, and the namespace's tasks if they are wanted.

    Raises:
        EngineError: containerd is away, or cannot list its containers.
    """
    tasks: dict[str, TaskInfo] = {}

    async def ask_for_tasks() -> None:
        with trio.move_on_after(TASKS_LIMIT_S):
            try:
                tasks.update({task.id: task for task in await containerd.tasks.list()})
            except EngineError as error:
                log.info("tasks are asked for one by one", error=str(error))

    with single_error():
        async with trio.open_nursery() as nursery:
            if wants_tasks:
                nursery.start_soon(ask_for_tasks)
            records = {record.id: record for record in await containerd.containers.list(owner)}
    return Found(records=records, tasks=tasks)


def agrees(container: Container, task: TaskInfo | None) -> bool:
    """Whether the record of a container says what containerd says, so that it can be shown.

    Not one that is held: its engine is no more, and it is to be let go first.
    """
    status = container.status
    return (
        task is not None
        and task.pid == status.pid
        and (status.state, task.status) in _SAME
        and not status.is_held
    )
