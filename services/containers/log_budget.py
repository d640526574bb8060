"""Keeps the log files of all containers together within a budget.

A sweep measures them in a thread, decides (`logs.budget`) and acts. Between two sweeps one number
is looked at, once a second: how much output was logged since. So logs may pass the budget by what
is written in about a second; no container waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio
from loguru import logger

from services.containers.container import Container
from services.containers.logs import FileLog, LogCounts
from services.containers.logs.budget import AHEAD, Do, Step, make_room
from services.containers.logs.file_log import Rotated
from services.containers.logs.usage import LogUsage, measure
from services.containers.stdio.spool import has_spool
from services.containers.table import ContainerTable

_T = TypeVar("_T")

log = logger.bind(service="logs")

_LOOK_S: Final = 1.0
_SWEEP_S: Final = 60.0  # at most between two sweeps: containers are removed, files by hand
_REST: Final = 20.0  # times as long as a sweep took, none follows
_TOLD_S: Final = 3600.0  # how long /info tells that something was removed
_LINE_BYTES: Final = 100  # what a line costs at most besides its text, and its text
_TEXT_FACTOR: Final = 2  # times itself, but for control characters


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlaces:
    """Where a container's log is. `log_of` is for the loop, the others are for any thread."""

    log_of: Callable[[Container], FileLog | None]
    path_of: Callable[[Container], Path]
    spool_of: Callable[[Container], Path]


@dataclass(slots=True)
class _Done:
    """What a sweep's thread did."""

    rotated: list[tuple[FileLog, Rotated]]
    files: int = 0
    size_bytes: int = 0


class LogBudget:
    """Its `run` is a child; it may be run again.

    Attributes:
        used_bytes: by all log files at the last sweep.
        removed_files: since the daemon started.
        removed_bytes: which these had.
    """

    def __init__(
        self,
        table: ContainerTable,
        places: LogPlaces,
        *,
        budget_bytes: Callable[[], int],
        counts: LogCounts,
    ) -> None:
        """`budget_bytes` is asked each time; 0: no budget. `counts`: of all logs together."""
        self._table = table
        self._places = places
        self._budget_bytes = budget_bytes
        self._counts = counts
        self.used_bytes = 0
        self.removed_files = 0
        self.removed_bytes = 0
        self._kept_to = 0  # the budget of the last sweep
        self._counted = 0  # of output and lines, weighed, at the last sweep
        self._not_before = -math.inf  # on trio's clock, as the others
        self._at_last_at = -math.inf
        self._removed_at = -math.inf
        self._threads = trio.CapacityLimiter(1)

    @property
    def budget_bytes(self) -> int:
        """The budget in force; 0: none."""
        return self._budget_bytes()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For /info: that lines had to go within the last hour, or that logs do not fit."""
        budget = self._budget_bytes()
        if not budget or budget != self._kept_to:
            return ()
        place = f"container logs take {_megabytes(self.used_bytes)} MB"
        if self.used_bytes > budget:
            return (f"WARNING: {place}, more than log-budget's {_megabytes(budget)} MB",)
        if trio.current_time() > self._removed_at + _TOLD_S:
            return ()
        return (
            f"WARNING: {place}; older lines were removed within the last hour to keep them within "
            f"log-budget's {_megabytes(budget)} MB",
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the logs until cancelled."""
        task_status.started()
        while True:
            budget = self._budget_bytes()
            if budget and self._is_due(budget):
                await self._keep_to(budget)
            await trio.sleep(_LOOK_S)

    def _is_due(self, budget: int) -> bool:
        now = trio.current_time()
        if budget != self._kept_to or now >= self._at_last_at:
            return True
        grown = self.used_bytes + self._weigh() - self._counted
        mark = budget * AHEAD if self.used_bytes <= budget * AHEAD else budget
        return now >= self._not_before and grown > mark

    async def _keep_to(self, budget: int) -> None:
        began, counted = trio.current_time(), self._weigh()
        containers = {str(container.id): container for container in self._table}
        usages = await self._in_thread(partial(self._measure, list(containers.values())))
        steps = make_room(usages, budget)
        logs = {key: self._places.log_of(containers[key]) for key in {s.log for s in steps}}
        used = sum(usage.total for usage in usages.values())
        done = await self._in_thread(partial(self._carry_out, steps, logs, containers))
        for written, rotated in done.rotated:
            written.announce_rotation(rotated)
        self.used_bytes, self._kept_to, self._counted = used - done.size_bytes, budget, counted
        self._tell(done, budget)
        took_s = trio.current_time() - began
        self._not_before = trio.current_time() + _REST * took_s
        self._at_last_at = trio.current_time() + max(_SWEEP_S, _REST * took_s)

    def _measure(self, containers: Sequence[Container]) -> Mapping[str, LogUsage]:
        return {one.id: measure(self._places.path_of(one)) for one in containers}

    def _carry_out(
        self,
        steps: Sequence[Step],
        logs: Mapping[str, FileLog | None],
        containers: Mapping[str, Container],
    ) -> _Done:
        done = _Done([])
        for step in steps:
            written = logs[step.log]
            if written is None:
                continue
            is_idle = partial(self._is_idle, containers[step.log])
            try:
                if step.do is Do.DROP:
                    freed = written.drop_oldest(is_idle)
                    done.files += freed > 0
                    done.size_bytes += freed
                elif (rotated := written.rotate_early(is_idle)) is not None:
                    done.rotated.append((written, rotated))
            except OSError as error:  # the others' may go
                log.warning("log not shortened", path=str(written.files.path), error=str(error))
        return done

    def _is_idle(self, container: Container) -> bool:
        return not has_spool(self._places.spool_of(container))

    def _tell(self, done: _Done, budget: int) -> None:
        if done.files:
            self.removed_files += done.files
            self.removed_bytes += done.size_bytes
            self._removed_at = trio.current_time()
            log.info(
                "container logs shortened to keep to log-budget",
                files=done.files,
                bytes=done.size_bytes,
                used=self.used_bytes,
                budget=budget,
            )

    def _weigh(self) -> int:
        """A number that grows at least as fast as the logs do."""
        counts = self._counts
        return counts.written_bytes * _TEXT_FACTOR + counts.written_lines * _LINE_BYTES

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f}"
