"""What earlier daemons and starts cut short have left, and that nobody will ask for again.

Nothing is taken away that belongs to a container which lives or is being made: what a container
may still need is decided under its turn.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd, end_shim, find_shims
from services.containers.container import Container
from services.containers.create import SNAPSHOT_OWNER_LABEL
from services.containers.execs.records import exec_folder, parse_exec_folder
from services.containers.files import remove_tree
from services.containers.health.probes import OldProbes, parse_probe_folder
from services.containers.image_points import owner_of
from services.containers.joining import is_joined
from services.containers.runs.run import Runs
from services.containers.runs.shm import SharedMemory
from services.containers.stdio import open_readers
from services.containers.table import ContainerTable
from services.containers.terminals import Terminals
from services.errors import EngineError, NotFound
from services.networks import Sandboxes
from services.volumes import Volumes

log = logger.bind(service="containers")

CLEANUP_LIMIT_S: Final = 20.0
CONTAINER_ID_LENGTH: Final = 64
ADOPTED_AT_ONCE: Final = 16


class RootFilesystems(Protocol):
    """What reclaiming needs of the images service."""

    async def remove_rootfs(self, key: str) -> None:
        """Drop a snapshot."""

    async def rootfs_keys(self, label: str) -> Sequence[str]:
        """The snapshots that carry `label`."""


class OldExecs(Protocol):
    """What reclaiming needs of the execs."""

    async def adopt(self, container: Container, exec_id: str) -> bool:
        """Take up an exec of an earlier daemon; False if there is none."""

    async def resume(self) -> None:
        """Take up again what nobody follows any more."""


class Reclaimer:
    """Takes away half-made containers and starts, and what the dead have left."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        runs: Runs,
        sandboxes: Sandboxes,
        shm: SharedMemory,
        terminals: Terminals,
        probes: OldProbes,
        execs: OldExecs,
        root_filesystems: RootFilesystems,
        volumes: Volumes,
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._containerd = containerd
        self._table = table
        self._runs = runs
        self._sandboxes = sandboxes
        self._shm = shm
        self._terminals = terminals
        self._probes = probes
        self._execs = execs
        self._root_filesystems = root_filesystems
        self._volumes = volumes
        self._directory = directory
        self._disk = disk
        self._old_streams: list[str] = []  # an earlier daemon's, or those of its execs
        self._old_readers: list[int] = []
        self._exec_owners: set[str] = set()  # containers that an earlier daemon has left execs of

    async def note_old_streams(self) -> None:
        """Remember which pipes there are before this daemon makes any."""
        directory = self._terminals.directory
        list_names = partial(_names_in, directory)
        self._old_streams = await trio.to_thread.run_sync(list_names, limiter=self._disk)
        # An exec that was being started when the daemon was killed waits for a reader of its
        # pipes, and its container's shim with it; those of containers get theirs by adoption.
        execs = [name for name in self._old_streams if len(name) != CONTAINER_ID_LENGTH]
        self._exec_owners = {owner for name in execs if (owner := _exec_owner(name))}
        self._old_readers = [fd for name in execs for fd in open_readers(directory / name)]

    def has_old_execs(self, container: Container) -> bool:
        """Whether an earlier daemon has left execs of it, by whose ids clients may ask."""
        return container.id in self._exec_owners

    async def adopt_execs(self) -> None:
        """Take up the execs of containers that were adopted, before anybody asks for them."""
        await self._execs.resume()
        limit = trio.CapacityLimiter(ADOPTED_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for name in self._old_streams:
                container_id, exec_id = parse_exec_folder(name) or ("", "")
                container = self._table.get(container_id)
                if container is not None:
                    nursery.start_soon(self._adopt_exec, container, exec_id, limit)

    async def _adopt_exec(
        self, container: Container, exec_id: str, limit: trio.CapacityLimiter
    ) -> None:
        async with limit:
            if await self._execs.adopt(container, exec_id):
                self._old_streams.remove(exec_folder(container.id, exec_id))
                log.info("exec adopted", container=container.id, exec=exec_id)

    async def reclaim(self, known: set[str]) -> None:
        """Take away what is nobody's. `known` are the ids of our containers in containerd."""
        for step in (
            partial(self._reclaim_tasks, known),
            self._reclaim_shims,
            self._reclaim_snapshots,
            self._reclaim_directories,
            partial(self._volumes.reclaim, self._table.is_reserved),
            self._reclaim_namespaces,
            self._reclaim_shared_memory,
            self._reclaim_streams,
        ):
            try:
                await step()
            except (EngineError, OSError) as error:
                log.error("reclaiming failed", error=repr(error))

    async def _reclaim_tasks(self, known: set[str]) -> None:
        for container_id in known:
            container = self._table.get(container_id)
            if container is None:
                await self.take_away(container_id)
            elif not self._is_alive(container):
                async with container.turn("the reclaiming of its task"):
                    if not self._is_alive(container):
                        await self.take_away(container_id)

    def _is_alive(self, container: Container) -> bool:
        """Whether it has something that must not be taken away; decided under its turn."""
        return container.is_running or self._runs.get(container) is not None

    async def _reclaim_shims(self) -> None:
        """Those that containerd has forgotten; it has no record of what they were made for."""
        address, namespace = self._containerd.address, self._containerd.namespace
        find = partial(find_shims, address, namespace)
        shims = await trio.to_thread.run_sync(find, limiter=self._disk)
        # Listed after the shims: a record is made before its shim.
        for record in await self._containerd.containers.list():
            shims.pop(record.id, None)

        async def end(shim_id: str) -> None:
            call = partial(end_shim, shims[shim_id], shim_id, address, namespace)
            if await trio.to_thread.run_sync(call, limiter=self._disk):
                log.info("shim reclaimed", container=shim_id)

        await self._drop_dead(tuple(shims), end)

    async def _reclaim_snapshots(self) -> None:
        for key in await self._root_filesystems.rootfs_keys(SNAPSHOT_OWNER_LABEL):
            if not self._table.is_reserved(owner_of(key)):
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
        await self._drop_dead(await self._sandboxes.held(), self._drop_namespace)

    async def _drop_namespace(self, container_id: str) -> None:
        held_by_others = is_joined(container_id, self._table)
        await self._sandboxes.release(container_id, held_by_others=held_by_others)
        log.info("namespace reclaimed", container=container_id)

    async def _reclaim_shared_memory(self) -> None:
        held = await trio.to_thread.run_sync(self._shm.held, limiter=self._disk)
        await self._drop_dead(held, self._drop_shared_memory)

    async def _drop_shared_memory(self, container_id: str) -> None:
        await trio.to_thread.run_sync(self._shm.drop, container_id, limiter=self._disk)
        log.info("shared memory reclaimed", container=container_id)

    async def _reclaim_streams(self) -> None:
        try:
            await self._drop_dead(self._old_streams, self._drop_streams)
            self._old_streams = []
        finally:
            while self._old_readers:
                os.close(self._old_readers.pop())

    async def _drop_streams(self, name: str) -> None:
        """What an earlier daemon had not logged of a process's output is logged.

        A probe of a health check that may still run is killed before its folder goes.
        """
        if probe := parse_probe_folder(name):
            await self._probes.kill(*probe)
        container = self._table.get(name)
        if container is not None:
            streams = self._terminals.streams(container)
            self._terminals.retire_streams(container, streams)
            streams.process_exited()
            with trio.move_on_after(CLEANUP_LIMIT_S):
                await streams.pump()
            await streams.close()
        remove = partial(remove_tree, self._terminals.directory / name)
        await trio.to_thread.run_sync(remove, limiter=self._disk)

    async def _drop_dead(
        self, names: Sequence[str], drop: Callable[[str], Awaitable[None]]
    ) -> None:
        """Drop what belongs to containers that do not live, and to none that is being started."""
        for name in names:
            container = self._table.get(name)
            if container is None:
                await drop(name)
            elif not self._is_alive(container):
                async with container.turn("the reclaiming of what it left"):
                    if not self._is_alive(container):
                        await drop(name)

    async def take_away(self, container_id: str) -> None:
        """Kill and delete a task and its containerd container; what is gone already is fine."""
        with trio.move_on_after(CLEANUP_LIMIT_S):
            with suppress(EngineError):  # nothing runs there
                await self._containerd.tasks.kill(container_id, 9)
                await self._containerd.tasks.wait(container_id)
            for delete in (self._containerd.tasks.delete, self._containerd.containers.delete):
                try:
                    await delete(container_id)
                except NotFound:
                    continue
                except EngineError as error:
                    log.error("task not reclaimed", container=container_id, error=str(error))
                    return
            log.info("task reclaimed", container=container_id)


def _exec_owner(name: str) -> str:
    return (parse_exec_folder(name) or ("", ""))[0]


def _names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()] if directory.is_dir() else []
