"""What a start of the daemon finds, and what it makes of it: containerd's word is the truth.

on disk          containerd says      becomes
any              task runs            running, adopted as it is
running          task has exited      exited with its true code and time
running          no task              exited 255
not running      task never started   taken away
removing         -                    the removal is finished
no row           container of ours    killed and taken away
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio
from loguru import logger

from services.containerd import Containerd, EventEnvelope, TaskInfo, TaskOOMEvent, TaskStatus
from services.containers.container import Container
from services.containers.create import SNAPSHOT_OWNER_LABEL
from services.containers.journal import Journal, container_event
from services.containers.launch import OWNER_LABEL
from services.containers.life import UNKNOWN_EXIT_CODE, Lives
from services.containers.model import State
from services.containers.remove import Remover, remove_tree
from services.containers.restart_policy import starts_with_daemon
from services.containers.run import Runs
from services.containers.table import ContainerTable
from services.containers.terminals import Terminals
from services.errors import DeadlineExceeded, EngineError, NotFound
from services.networks import Networks

log = logger.bind(service="containers")

LOOKUPS_AT_ONCE: Final = 16
CLEANUP_LIMIT_S: Final = 20.0


class RootFilesystems(Protocol):
    """What the restore needs of the images service."""

    async def remove_rootfs(self, key: str) -> None:
        """Drop a snapshot."""

    async def rootfs_keys(self, label: str) -> Sequence[str]:
        """The snapshots that carry `label`."""


class Restorer:
    """Brings memory, disk and containerd together when the engine starts or its parts restart."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        journal: Journal,
        runs: Runs,
        lives: Lives,
        remover: Remover,
        networks: Networks,
        terminals: Terminals,
        root_filesystems: RootFilesystems,
        engine_id: str,
        directory: Path,
        start: Callable[[Container], Awaitable[None]],
        disk: trio.CapacityLimiter,
    ) -> None:
        self._containerd = containerd
        self._table = table
        self._journal = journal
        self._runs = runs
        self._lives = lives
        self._remover = remover
        self._networks = networks
        self._terminals = terminals
        self._root_filesystems = root_filesystems
        self._engine_id = engine_id
        self._directory = directory
        self._start = start
        self._disk = disk
        self._is_settled = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the containers, then settle each one. Started once the API may show them."""
        if not len(self._table):
            for container in await self._journal.load():
                self._table.add(container)
        for container in self._table:
            for endpoint in container.status.networks.values():
                self._networks.adopt(endpoint.ip_address)
        task_status.started()
        await self.settle_all()
        self._is_settled = True
        log.info("containers restored", count=len(self._table))
        await trio.sleep_forever()

    async def reconcile(self) -> None:
        """Events may have been missed: compare again. The first time is `run`'s."""
        if self._is_settled:
            await self.settle_all()

    async def task_event(self, event: EventEnvelope) -> None:
        """One of containerd's events; exits are heard from the task itself."""
        if isinstance(event.event, TaskOOMEvent):
            container = self._table.get(event.event.container_id)
            if container is not None:
                await self._journal.tell(container_event(container, "oom"))

    async def settle_all(self) -> None:
        """Compare all containers with containerd, take away what is nobody's, start what is due."""
        await self._containerd.connection.wait_ready()
        ours = f'labels."{OWNER_LABEL}"=={self._engine_id}'
        known = {record.id for record in await self._containerd.containers.list(ours)}
        limit = trio.CapacityLimiter(LOOKUPS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for container in self._table:
                nursery.start_soon(self._settle_one, container, container.id in known, limit)
        await self._reclaim(known)
        async with trio.open_nursery() as nursery:
            for container in self._table:
                if self._is_due(container):
                    nursery.start_soon(self._start_one, container)

    async def _settle_one(
        self, container: Container, has_record: bool, limit: trio.CapacityLimiter
    ) -> None:
        async with limit:
            try:
                await self._settle(container, has_record)
            except EngineError as error:
                log.error("container not restored", container=container.id, error=str(error))

    async def _settle(self, container: Container, has_record: bool) -> None:
        if self._runs.get(container) is not None:
            return  # its supervisor has it
        if container.state in (State.REMOVING, State.DEAD):
            await self._remover.remove_stopped(container)
            return
        async with container.turn("its restoration"):
            if self._runs.get(container) is None:
                await self._compare(container, has_record)
        if not container.is_running and container.definition.host_config.auto_remove:
            await self._remover.remove_stopped(container)

    async def _compare(self, container: Container, has_record: bool) -> None:
        """Make our record agree with containerd."""
        task = await self._task_of(container) if has_record else None
        if task is not None and task.status is TaskStatus.CREATED:
            await self._take_away(container.id)
        elif task is not None:
            await self._adopt(container, task)
        elif container.is_running:
            await self._record_lost(container)

    async def _task_of(self, container: Container) -> TaskInfo | None:
        """None when containerd knows no task.

        A shim that does not answer has a task: the container stays as it was last known.
        """
        try:
            return await self._containerd.tasks.get(container.id)
        except NotFound:
            return None
        except DeadlineExceeded:
            if not container.state.has_task:
                raise
            return TaskInfo(
                id=container.id,
                pid=container.status.pid,
                status=TaskStatus.RUNNING,
                exit_code=0,
                exited_at_ns=0,
                stdin="",
                stdout="",
                stderr="",
                terminal=container.definition.config.tty,
            )

    async def _adopt(self, container: Container, task: TaskInfo) -> None:
        """Follow a task that ran while we were away; of one that has ended the exit is heard."""
        if not container.state.has_task:
            paused = task.status is TaskStatus.PAUSED
            status = msgspec.structs.replace(
                container.status,
                state=State.PAUSED if paused else State.RUNNING,
                pid=task.pid,
                started_at_ns=container.status.started_at_ns or time.time_ns(),
            )
            await self._journal.set_status(container, status, container_event(container, "start"))
        await self._lives.begin(container)
        self._terminals.streams(container).process_started()
        log.info("container adopted", container=container.id, pid=task.pid)

    async def _record_lost(self, container: Container) -> None:
        """It ran, and containerd knows nothing of it: the machine was restarted, most likely."""
        was_waiting = container.state is State.RESTARTING
        addresses = [e.ip_address for e in container.status.networks.values()]
        now_ns = time.time_ns()
        status = msgspec.structs.replace(container.status, state=State.EXITED, pid=0, networks={})
        if was_waiting:
            await self._journal.set_status(container, status)
            return
        status = msgspec.structs.replace(status, exit_code=UNKNOWN_EXIT_CODE, finished_at_ns=now_ns)
        attributes = {"exitCode": str(UNKNOWN_EXIT_CODE)}
        event = container_event(container, "die", attributes, time_ns=now_ns)
        await self._journal.set_status(container, status, event)
        for address in addresses:
            await self._networks.release(container.id, address)
        log.warning("container was gone", container=container.id)

    async def _reclaim(self, known: set[str]) -> None:
        """Take away what no row names: half-made containers, half-made starts, namespaces."""
        for step in (
            partial(self._reclaim_tasks, known),
            self._reclaim_snapshots,
            self._reclaim_directories,
            self._reclaim_namespaces,
        ):
            try:
                await step()
            except (EngineError, OSError) as error:
                log.error("reclaiming failed", error=repr(error))

    async def _reclaim_tasks(self, known: set[str]) -> None:
        for container_id in known:
            container = self._table.get(container_id)
            if container is None:
                await self._take_away(container_id)
            elif not container.is_running:
                async with container.turn("the reclaiming of its task"):
                    if not container.is_running and self._runs.get(container) is None:
                        await self._take_away(container_id)

    async def _reclaim_snapshots(self) -> None:
        for key in await self._root_filesystems.rootfs_keys(SNAPSHOT_OWNER_LABEL):
            if not self._table.is_reserved(key):
                await self._root_filesystems.remove_rootfs(key)
                log.info("snapshot reclaimed", container=key)

    async def _reclaim_directories(self) -> None:
        list_names = partial(_names_in, self._directory)
        for name in await trio.to_thread.run_sync(list_names, limiter=self._disk):
            if not self._table.is_reserved(name):
                remove = partial(remove_tree, self._directory / name)
                await trio.to_thread.run_sync(remove, limiter=self._disk)
                log.info("directory reclaimed", container=name)

    async def _reclaim_namespaces(self) -> None:
        living = {c.id for c in self._table if c.is_running or self._runs.get(c) is not None}
        await self._networks.reclaim(living)

    async def _take_away(self, container_id: str) -> None:
        """Kill and delete a task and its containerd container; what is gone already is fine."""
        with trio.move_on_after(CLEANUP_LIMIT_S):
            try:
                await self._containerd.tasks.kill(container_id, 9)
                await self._containerd.tasks.wait(container_id)
            except EngineError:
                pass  # nothing runs there
            for delete in (self._containerd.tasks.delete, self._containerd.containers.delete):
                try:
                    await delete(container_id)
                except NotFound:
                    continue
            log.info("task reclaimed", container=container_id)

    def _is_due(self, container: Container) -> bool:
        """Whether its restart policy wants it now, at the start of the daemon."""
        status = container.status
        return (
            container.state is State.EXITED
            and status.started_at_ns > 0
            and self._runs.get(container) is None
            and starts_with_daemon(
                container.definition.host_config.restart_policy,
                exit_code=status.exit_code,
                restart_count=status.restart_count,
                stopped_by_user=status.stopped_by_user,
            )
        )

    async def _start_one(self, container: Container) -> None:
        try:
            await self._start(container)
        except EngineError as error:
            log.error("container not started again", container=container.id, error=str(error))


def _names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()] if directory.is_dir() else []
