"""Continuous comparison with containerd: events are hints, what it says now is the truth.

Each running container is asked about in turn, evenly spread over a round, so that the cost is the
same small one whatever happens. What differs is looked at once more a moment later, for a container
may be on its way from one state to the next; what still differs is counted, logged and mended.

A container whose shim does not answer keeps what was last known of it; since when stands with it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd, TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.model import State
from services.containers.runs.run import Run, Runs
from services.containers.runs.task_making import OWNER_LABEL
from services.containers.table import ContainerTable
from services.errors import EngineError, NotFound, Unavailable

log = logger.bind(service="containers")

ROUND_S: Final = 10.0
"""How long it may take until a container is asked about again."""

SHORTEST_PAUSE_S: Final = 0.02
"""Between two questions: 50 a second at most. With more than 500 running a round takes longer."""

ANSWER_LIMIT_S: Final = 3.0
AGAIN_S: Final = 1.0


class Divergence(StrEnum):
    """How a container differs from what containerd says of it."""

    NO_TASK = "no-task"  # it is recorded as running
    ENDED = "ended"  # its exit was not heard
    FROZEN = "frozen"  # and recorded as running
    THAWED = "thawed"  # and recorded as paused
    UNKNOWN = "unknown"  # containerd has a container of ours that nobody runs


class Mender(Protocol):
    """What is done about a divergence."""

    async def reconcile(self) -> None:
        """Compare everything, and take away what is nobody's."""

    async def check_freeze(self, container: Container) -> None:
        """Take over from containerd whether it is paused."""


def divergence_of(container: Container, task: TaskInfo | None) -> Divergence | None:
    """How a container that has a task by its record differs from what containerd knows of it."""
    if not container.state.has_task:
        return None
    if task is None:
        return Divergence.NO_TASK
    is_paused = container.state is State.PAUSED
    match task.status:
        case TaskStatus.STOPPED:
            return Divergence.ENDED
        case TaskStatus.PAUSED if not is_paused:
            return Divergence.FROZEN
        case TaskStatus.RUNNING if is_paused:
            return Divergence.THAWED
    return None


class Reconciler:
    """Goes round the running containers for as long as the engine lives. A supervised child."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        runs: Runs,
        mender: Mender,
        engine_id: str,
        tidy: Callable[[Container], Awaitable[None]],
        finish: Callable[[Container], Awaitable[None]],
        round_s: float = ROUND_S,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`tidy` does for a running container what could not be done before, `finish` tries once
        more to remove one whose removal has failed; neither fails.
        """
        self._containerd = containerd
        self._table = table
        self._runs = runs
        self._mender = mender
        self._ours = f'labels."{OWNER_LABEL}"=={engine_id}'
        self._tidy = tidy
        self._finish = finish
        self._round_s = round_s
        self._now_ns = now_ns
        self._counts: Counter[Divergence] = Counter()
        self._rounds = 0

    @property
    def divergences(self) -> Mapping[Divergence, int]:
        """How many were found and mended since the daemon began, by kind."""
        return MappingProxyType(self._counts)

    @property
    def rounds(self) -> int:
        """How often everything was compared."""
        return self._rounds

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Compare until cancelled; while containerd is away there is nothing to compare with."""
        task_status.started()
        while True:
            await self._containerd.connection.wait_ready()
            with suppress(Unavailable):  # the next round sees
                await self._round()
                self._rounds += 1

    async def _round(self) -> None:
        began = trio.current_time()
        running = [container for container in self._table if container.state.has_task]
        pause_s = max(SHORTEST_PAUSE_S, self._round_s / (len(running) + 1))
        for container in running:
            await trio.sleep(pause_s)
            await self._look_at(container)
            await self._tidy(container)
        for container in [one for one in self._table if one.state is State.DEAD]:
            await self._finish(container)
        await trio.sleep(max(pause_s, began + self._round_s - trio.current_time()))
        await self._look_for_unknown()

    async def _look_at(self, container: Container) -> None:
        first = await self._compare(container)
        if first is None:
            return
        await trio.sleep(AGAIN_S)
        run, revision = self._runs.get(container), container.revision
        if await self._compare(container) is not first or container.revision != revision:
            return
        self._tell(first, container.id)
        await self._mend(first, container, run)

    async def _compare(self, container: Container) -> Divergence | None:
        """None also if it cannot be told; then the container says since when."""
        if not container.state.has_task:
            return None
        try:
            with trio.fail_after(ANSWER_LIMIT_S):
                task = await self._containerd.tasks.get(container.id)
        except NotFound:
            return divergence_of(container, None)
        except Unavailable:
            raise
        except (EngineError, trio.TooSlowError) as error:
            self._cannot_tell(container, str(error))
            return None
        if task.status is TaskStatus.UNKNOWN:  # what containerd makes of a shim that is too slow
            self._cannot_tell(container, "containerd does not know its state")
            return None
        if container.unreadable_since_ns is not None:
            log.info("container answers again", container=container.id)
            container.set_unreadable(None)
        return divergence_of(container, task)

    def _cannot_tell(self, container: Container, why: str) -> None:
        if container.unreadable_since_ns is None:
            log.warning("container does not answer", container=container.id, error=why)
            container.set_unreadable(self._now_ns())

    async def _mend(self, kind: Divergence, container: Container, run: Run | None) -> None:
        if kind in (Divergence.FROZEN, Divergence.THAWED):
            await self._mender.check_freeze(container)
        elif run is not None:
            run.ask_again()
        else:
            await self._mender.reconcile()

    async def _look_for_unknown(self) -> None:
        unknown = await self._unknown()
        if not unknown:
            return
        await trio.sleep(AGAIN_S)
        if lasting := unknown & await self._unknown():
            for container_id in sorted(lasting):
                self._tell(Divergence.UNKNOWN, container_id)
            await self._mender.reconcile()

    async def _unknown(self) -> set[str]:
        """Containers of ours in containerd that are neither running nor being started or ended."""
        records = await self._containerd.containers.list(self._ours)
        return {record.id for record in records if not self._is_somebodys(record.id)}

    def _is_somebodys(self, container_id: str) -> bool:
        container = self._table.get(container_id)
        return container is not None and (
            container.is_running or self._runs.get(container) is not None or container.is_busy
        )

    def _tell(self, kind: Divergence, container_id: str) -> None:
        self._counts[kind] += 1
        log.warning("container differs from containerd", container=container_id, how=kind.value)
