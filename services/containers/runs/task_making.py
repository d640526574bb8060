"""containerd's container and task of a run: made of its definition, with what is around it.

The task is created while others make the run's links, and waits only for the namespace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd, ContainerRecord, Mount, RuncOptions
from services.containers.mount_sources import MountSources
from services.containers.networking.endpoint_labels import labels_of
from services.containers.runs.burial import Burials
from services.containers.runs.holdings import Holdings, push_undoing
from services.containers.runs.run import Run
from services.containers.spec_source import SpecSource, Surroundings
from services.errors import Conflict
from services.networks import Sandbox

log = logger.bind(service="containers")

OWNER_LABEL: Final = "io.wharfinger.engine"
"""On each containerd container of ours, with the engine's id: what a crash may have left."""

MadeTask = tuple[int, Callable[[], Awaitable[int]]]
"""A created task's pid, and what creates it anew should it be taken away before its start."""


class RootFilesystems(Protocol):
    """What a task needs of the images service."""

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """The mounts that make up a container's root file system."""


class Runtimes(Protocol):
    """The runtimes that this daemon knows."""

    def resolve(self, name: str) -> tuple[str, RuncOptions | None]:
        """containerd's name of a runtime and its options."""


class TaskMaker:
    """Makes tasks that do not run yet."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        root_filesystems: RootFilesystems,
        specs: SpecSource,
        sources: MountSources,
        runtimes: Runtimes,
        burials: Burials,
        holdings: Holdings,
        engine_id: str,
    ) -> None:
        self._containerd = containerd
        self._root_filesystems = root_filesystems
        self._specs = specs
        self._sources = sources
        self._runtimes = runtimes
        self._burials = burials
        self._holdings = holdings
        self._engine_id = engine_id

    async def create(
        self, run: Run, around: Surroundings, has_namespace: trio.Event, undo: AsyncExitStack
    ) -> MadeTask:
        """Create the task of a run once the event says that its namespace is there.

        Raises:
            EngineError: containerd or runc refused, or something of the definition is not here.
        """
        container = run.container
        push_undoing(undo, container, partial(self._sources.release, container))
        await self._sources.acquire(container)
        async with self._sources.opened(container) as mounts:
            around = dataclasses.replace(around, mounts=mounts)
            return await self._create(run, around, has_namespace, undo)

    async def _create(
        self, run: Run, around: Surroundings, has_namespace: trio.Event, undo: AsyncExitStack
    ) -> MadeTask:
        container, paths = run.container, run.stdio.paths
        rootfs = await self._root_filesystems.rootfs_mounts(container.id)
        spec = await self._specs.container_spec(container, rootfs, around)
        runtime, options = self._runtimes.resolve(container.definition.runtime)
        record = ContainerRecord(
            id=container.id,
            image=container.definition.image_id,
            spec=spec,
            runtime_name=runtime,
            runtime_options=options,
            snapshotter=container.definition.snapshotter,
            snapshot_key=container.id,
            labels={OWNER_LABEL: self._engine_id, **_labels_of(around.sandbox)},
        )
        push_undoing(undo, container, partial(self._holdings.delete_record, container))
        await self._create_record(record)
        remove = partial(self._holdings.undo_task, container)
        push_undoing(undo, container, remove)
        await has_namespace.wait()
        create = partial(
            self._containerd.tasks.create,
            container.id,
            rootfs=rootfs,
            stdin=paths.stdin,
            stdout=paths.stdout,
            stderr=paths.stderr,
            terminal=container.definition.config.tty,
            options=options,
        )
        return await self._burials.create(container.id, create, remove=remove), create

    async def _create_record(self, record: ContainerRecord) -> None:
        """Anew if need be: containerd may have been away when the last run was cleaned up."""
        try:
            await self._containerd.containers.create(record)
        except Conflict:
            log.warning("what the last run left is taken away", container=record.id)
            await self._holdings.remove_left(record.id)
            await self._containerd.containers.create(record)


def _labels_of(sandbox: Sandbox | None) -> dict[str, str]:
    return labels_of(sandbox.endpoints) if sandbox is not None else {}
