"""The supervised life of one task on this node: step after step, and what is told of each.

The object outlives its task: what fails in a way that nobody planned for begins again at the state
that was last recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import trio
from loguru import logger

from services.cluster.agent.errors import Lacking, TaskExit
from services.cluster.agent.steps import AFTER, Step, failed_state, next_step
from services.cluster.model.objects import ContainerStatus, Task, TaskStatus
from services.cluster.model.specs import PortConfig
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.errors import DeadlineExceeded, EngineError, Unavailable
from supervisor.otp import Backoff

log = logger.bind(service="cluster")

AGAIN: Final = Backoff(first_s=0.2, cap_s=8.0)
"""After a failure that may pass: containerd is away, a shim is stuck, something was not told."""


class Work(Protocol):
    """What the steps do; `Controller` for containers, others for other kinds of tasks."""

    async def prepare(self, task: Task) -> None:
        """All that a start needs."""

    async def start(self, task: Task) -> None:
        """Return when it runs, and is well."""

    async def follow(self, task: Task) -> None:
        """Return when it has ended well. TaskExit if it ended otherwise."""

    async def stop(self, task: Task) -> None:
        """Return when it has ended."""

    async def remove(self, task: Task) -> None:
        """Leave nothing of it."""

    def container_status(self, task: Task) -> ContainerStatus | None:
        """What there is to say of its container."""

    def port_status(self, task: Task) -> list[PortConfig]:
        """The ports of the node that lead to it."""


class TaskRun:
    """One task under way.

    Attributes:
        task: as the managers told it, with the status that was seen here.
    """

    def __init__(
        self,
        task: Task,
        *,
        work: Work,
        keep: Callable[[Task], Awaitable[None]],
        report: Callable[[Task], None],
        wait_told: Callable[[], Awaitable[None]],
    ) -> None:
        """`keep` puts it on disk; `report` tells the managers, after that; neither fails.

        `wait_told` blocks until the managers have told something about anything.
        """
        self.task = task
        self._work = work
        self._keep = keep
        self._report = report
        self._wait_told = wait_told
        self._is_removed = False
        self._changed = trio.Event()
        self._step = Step.REST
        self._under_way = trio.CancelScope()

    def update(self, told: Task) -> None:
        """Take over what is asked now; only ever more. What it is made of does not change."""
        desired = max(self.task.desired_state, told.desired_state)
        # The status is ours, but for a state that this node has lost with its disk.
        status = max(self.task.status, told.status, key=lambda status: status.state)
        self.task = msgspec.structs.replace(told, desired_state=desired, status=status)
        self._wake()

    def remove(self) -> None:
        """It is nobody's any more: end it and leave nothing."""
        self._is_removed = True
        self._wake()

    async def run(self) -> None:
        """Carry it on until it is removed."""
        while not self._is_removed:
            self._step = self._next_step()
            if self._step is Step.REST:
                await self._changed.wait()
                continue
            failures = 0
            while not await self._advance(self._step):
                failures += 1
                await self._pause(failures)
                if self._is_removed or self._next_step() is not self._step:
                    break
        failures = 0
        while not await self._remove():
            failures += 1
            await trio.sleep(AGAIN.delay_s(failures))

    def _next_step(self) -> Step:
        return next_step(self.task.status.state, self.task.desired_state)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        # A stop overtakes what is under way, but not another stop.
        if self._step is not Step.STOP and (
            self._is_removed or self._next_step() is not self._step
        ):
            self._under_way.cancel()

    async def _advance(self, step: Step) -> bool:
        """Take one step; False: it failed in a way that may pass."""
        try:
            with trio.CancelScope() as self._under_way:
                await self._do(step)
        except (Unavailable, DeadlineExceeded) as error:
            if self.task.status.err != str(error):
                await self._tell(self._status(err=str(error)))
            if not isinstance(error, Lacking):
                log.warning("task waits", task=self.task.id, step=step.value, error=str(error))
            return False
        except EngineError as error:
            await self._fail(error)
            return True
        if self._under_way.cancelled_caught:
            return True  # something else is asked now
        state, word = AFTER[step]
        await self._tell(self._status(state=state, message=word, err=""))
        return True

    async def _do(self, step: Step) -> None:
        match step:
            case Step.PREPARE:
                await self._work.prepare(self.task)
            case Step.START:
                await self._work.start(self.task)
            case Step.FOLLOW:
                await self._work.follow(self.task)
            case Step.STOP:
                await self._work.stop(self.task)
            case _:
                await trio.lowlevel.checkpoint()

    async def _fail(self, error: EngineError) -> None:
        log.warning("task failed", task=self.task.id, name=self.task.name, error=str(error))
        state = failed_state(self.task.status.state)
        status = self._status(state=state, err=str(error))
        if isinstance(error, TaskExit) and status.container is not None:
            seen = msgspec.structs.replace(status.container, exit_code=error.code)
            status = msgspec.structs.replace(status, container=seen)
        await self._tell(status)

    def _status(self, **changes: object) -> TaskStatus:
        before = self.task.status
        status = msgspec.structs.replace(before, timestamp=utc_now(), **changes)
        if status.state is TaskState.RUNNING and status.running_at is None:
            status = msgspec.structs.replace(status, running_at=status.timestamp)
        if status.state < TaskState.STARTING:
            return status
        container = self._work.container_status(self.task) or before.container
        ports = self._work.port_status(self.task)
        return msgspec.structs.replace(status, container=container, ports=ports)

    async def _tell(self, status: TaskStatus) -> None:
        """On disk first: what the managers know of must not be unknown to the next engine."""
        self.task = msgspec.structs.replace(self.task, status=status)
        await self._keep(self.task)
        self._report(self.task)

    async def _pause(self, failures: int) -> None:
        """Until it is worth another try."""
        with trio.move_on_after(AGAIN.delay_s(failures)):
            async with trio.open_nursery() as nursery:
                for wait in (self._changed.wait, self._wait_told):
                    nursery.start_soon(_cancel_after, wait, nursery.cancel_scope)

    async def _remove(self) -> bool:
        try:
            await self._work.remove(self.task)
        except EngineError as error:
            log.warning("task not removed", task=self.task.id, error=str(error))
            return False
        return True


async def _cancel_after(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()
