"""What a start of the daemon finds, and what it makes of it: containerd's word is the truth.

on disk          containerd says        becomes
any              task runs, is paused   running, paused; adopted as it is
held, paused     task is paused         let go: the engine that held it is no more
running          task has exited        exited with its true code and time
not running      task has exited        taken away: its exit was recorded before
any              task never started     taken away
running          no task                exited 255
running, before  (not asked)            exited 255
the last boot
removing         -                      the removal is finished
no row           container of ours      killed and taken away
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from typing import Final

import trio
from loguru import logger

from services.containerd import (
    Containerd,
    ContainerRecord,
    EventEnvelope,
    TaskInfo,
    TaskOOMEvent,
    TaskPausedEvent,
    TaskResumedEvent,
)
from services.containers.container import RESTORATION, Container
from services.containers.journal import Journal, container_event
from services.containers.model import State
from services.containers.mount_sources import MountSources
from services.containers.remove import Remover
from services.containers.restoring.compare import Comparer
from services.containers.restoring.due import is_due, start_due
from services.containers.restoring.found_containers import agrees, ask_all
from services.containers.restoring.freezes import Freezes
from services.containers.restoring.reclaim import Reclaimer
from services.containers.runs.run import Runs
from services.containers.runs.task_making import OWNER_LABEL
from services.containers.table import ContainerTable
from services.containers.terminals import Terminals
from services.errors import EngineError
from services.networks import Networks, Sandboxes
from supervisor.otp import StopRequest, stop_request

log = logger.bind(service="containers")

LOOKUPS_AT_ONCE: Final = 16
ADOPTED_AT_ONCE: Final = 4
"""Of those that can be shown already: clients are being answered beside it."""

COMPARED_LIMIT_S: Final = 3.0
FIRST_S: Final = 0.3
"""How long those that differ are settled alone, before the others are adopted beside them."""

TASK_TOPICS: Final = ("/tasks/oom", "/tasks/paused", "/tasks/resumed")
"""What of containerd's events `Restorer.task_event` acts on."""


class Restorer:
    """Brings memory, disk and containerd together when the engine starts or its parts restart."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        journal: Journal,
        runs: Runs,
        remover: Remover,
        networks: Networks,
        sandboxes: Sandboxes,
        sources: MountSources,
        terminals: Terminals,
        freezes: Freezes,
        comparer: Comparer,
        reclaimer: Reclaimer,
        engine_id: str,
        start: Callable[[Container], Awaitable[None]],
        finish_update: Callable[[Container], Awaitable[None]],
        let_go: Callable[[Container], Awaitable[None]],
        stop_rest_of_groups: Callable[[Sequence[Container]], Awaitable[None]],
    ) -> None:
        self._containerd = containerd
        self._table = table
        self._journal = journal
        self._runs = runs
        self._remover = remover
        self._networks = networks
        self._sandboxes = sandboxes
        self._sources = sources
        self._terminals = terminals
        self._freezes = freezes
        self._comparer = comparer
        self._reclaimer = reclaimer
        self._engine_id = engine_id
        self._start = start
        self._finish_update = finish_update
        self._let_go = let_go
        self._stop_rest_of_groups = stop_rest_of_groups
        self._is_loaded = False
        self._unsettled: set[str] = set()  # loaded from disk, not compared with containerd yet
        self._settling = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the containers, then settle each one.

        Started once the API may show them: when they were compared with containerd, so that no
        client is told of a container that runs no more; but a shim that is stuck delays that by
        COMPARED_LIMIT_S at most, and a containerd that is away not at all. What is shown need not
        be adopted yet: whoever wants something of such a container waits for it, and of no other.
        """
        if not self._is_loaded:
            await self._load()
        await self._networks.load()
        for container in self._table:
            self._comparer.adopt_addresses(container)
        await self._sandboxes.adopt_ingress()
        self._sandboxes.settle()
        tell = _Once(task_status.started)
        if not self._containerd.connection.is_ready:
            tell()  # nothing can be compared, and nobody is to wait for it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                end_when_restored, stop_request(), self._table, nursery.cancel_scope.cancel
            )
            await nursery.start(self._freezes.run)
            nursery.start_soon(_call_later, COMPARED_LIMIT_S, tell)
            try:
                await self.settle_all(tell)
            finally:
                tell()  # what is shown is worth more than what is not
            log.info("containers restored", count=len(self._table))

    async def reconcile(self) -> None:
        """Events may have been missed: compare again."""
        if self._is_loaded:  # before, every container would look like nobody's
            await self.settle_all()

    async def task_event(self, event: EventEnvelope) -> None:
        """One of containerd's events; exits are heard from the task itself."""
        happened = event.event
        if isinstance(happened, (TaskOOMEvent, TaskPausedEvent, TaskResumedEvent)):
            container = self._table.get(happened.container_id)
            if container is None:
                return
            if isinstance(happened, TaskOOMEvent):
                run = container.status.runs
                if container.state.has_task and container.ended_run != run:
                    container.oom_told_run = run
                    oom = container_event(container, "oom")
                    await self._journal.change_status(container, oom, oom_told_run=run)
            else:
                self._freezes.note(container)

    async def check_freeze(self, container: Container) -> None:
        """Take over from containerd whether a container is paused. Never fails."""
        await self._freezes.check(container)

    async def settle_all(self, compared: Callable[[], object] = lambda: None) -> None:
        """Compare all containers with containerd, take away what is nobody's, start what is due.

        `compared` is called when the first of these is done: with all whose record and task do not
        agree. Those found at the start that do are adopted after that.
        """
        due: list[Container] = []
        async with self._settling:
            new = frozenset(self._unsettled)
            await self._containerd.connection.wait_ready()
            found = await ask_all(
                self._containerd,
                f'labels."{OWNER_LABEL}"=={self._engine_id}',
                wants_tasks=any(c.id in new and c.state.has_task for c in self._table),
            )
            go_on, limit = trio.Event(), trio.CapacityLimiter(LOOKUPS_AT_ONCE)
            later_limit = trio.CapacityLimiter(ADOPTED_AT_ONCE)
            async with trio.open_nursery() as later:
                async with trio.open_nursery() as now:
                    for container in self._table:
                        record, task = found.of(container)
                        if record is None and self._rests(container):
                            self._note_rest(container, due)
                        elif self._can_be_shown(container, task):
                            container.expect_restoration()
                            later.start_soon(
                                self._adopt_later, container, record, task, later_limit, due, go_on
                            )
                        else:
                            now.start_soon(self._settle_one, container, record, None, limit, due)
                await self._reclaimer.adopt_execs()
                compared()
                go_on.set()
            await self._reclaimer.reclaim(set(found.records))
        due += await self._end_half_stopped(new)
        await start_due(due, self._table, self._start)

    async def _end_half_stopped(self, new: Set[str]) -> list[Container]:
        """Of those found at the start: what the last daemon was about to stop for its group."""
        found = [c for c in self._table if c.id in new and c.is_running and c.status.stopped_for]
        if found:
            await self._stop_rest_of_groups(found)
        return [container for container in found if self._is_due(container, at_start=True)]

    async def _load(self) -> None:
        await self._reclaimer.note_old_streams()
        await self._sources.reclaim()
        for container in await self._journal.load():
            self._table.add(container)
            self._unsettled.add(container.id)
        self._is_loaded = True

    def _rests(self, container: Container) -> bool:
        """Whether one that containerd does not have is as it should be: most are, and cost a look.

        A task and a turn for each of thousands would be half of the time to the API's first answer.
        """
        return (
            container.state in (State.CREATED, State.EXITED)
            and container.status.updating is None
            and not container.definition.host_config.auto_remove
            and self._runs.get(container) is None
        )

    def _note_rest(self, container: Container, due: list[Container]) -> None:
        """As `_settle_one`, for one that rests."""
        self._terminals.send_rest(container)
        at_start = container.id in self._unsettled
        self._unsettled.discard(container.id)
        if at_start and self._is_due(container, at_start=True):
            due.append(container)

    def _can_be_shown(self, container: Container, task: TaskInfo | None) -> bool:
        """Whether it is found as it is recorded, and nothing of it is asked for by another name."""
        return (
            container.id in self._unsettled
            and agrees(container, task)
            and not self._comparer.is_of_another_boot(container)
            and not self._reclaimer.has_old_execs(container)
        )

    async def _adopt_later(
        self,
        container: Container,
        record: ContainerRecord | None,
        task: TaskInfo | None,
        limit: trio.CapacityLimiter,
        due: list[Container],
        go_on: trio.Event,
    ) -> None:
        """As `_settle_one`, for one that can be shown: those that cannot have a start of it."""
        try:
            with trio.move_on_after(FIRST_S):
                await go_on.wait()
            await self._settle_one(container, record, task, limit, due)
        finally:
            container.end_restoration()

    async def _settle_one(
        self,
        container: Container,
        record: ContainerRecord | None,
        task: TaskInfo | None,
        limit: trio.CapacityLimiter,
        due: list[Container],
    ) -> None:
        """Settle one; `task` if it is known what containerd says of it."""
        async with limit:
            try:
                wants_start = await self._settle(container, record, task)
            except EngineError as error:
                log.error("container not restored", container=container.id, error=str(error))
                return
        self._unsettled.discard(container.id)
        if wants_start:
            due.append(container)

    async def _settle(
        self, container: Container, record: ContainerRecord | None, task: TaskInfo | None
    ) -> bool:
        """Make one container true; whether its restart policy wants it to be started."""
        at_start = container.id in self._unsettled
        if self._runs.get(container) is not None:
            return False  # its supervisor has it
        if container.state in (State.REMOVING, State.DEAD):
            if at_start:
                await self._remover.remove_stopped(container)
            return False
        async with container.turn(RESTORATION, restores=True):
            if self._runs.get(container) is not None or not self._is_known(container):
                return False
            is_lost = await self._comparer.compare(container, record, task)
            await self._finish_update(container)
            await self._let_go(container)
        if self._runs.get(container) is None and not container.is_running:
            self._terminals.send_rest(container)
        # One that is being made by `docker run --rm` at this moment has not run yet.
        has_ended = container.state is State.EXITED or (at_start and not container.is_running)
        if has_ended and container.definition.host_config.auto_remove:
            await self._remover.remove_stopped(container)
            return False
        return self._is_due(container, at_start=at_start) if at_start or is_lost else False

    def _is_due(self, container: Container, *, at_start: bool) -> bool:
        return self._runs.get(container) is None and is_due(container, at_start=at_start)

    def _is_known(self, container: Container) -> bool:
        return self._table.get(container.id) is container


class _Once:
    """Calls what it was made with when it is called first."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


async def end_when_restored(
    request: StopRequest, containers: Iterable[Container], end: Callable[[], object]
) -> None:
    """Once asked to stop, have the rest adopted first: only what is adopted is stopped with us."""
    await request.wait()
    for container in tuple(containers):
        await container.wait_restored()
    end()


async def _call_later(after_s: float, call: Callable[[], object]) -> None:
    await trio.sleep(after_s)
    call()
