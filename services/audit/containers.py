"""Checks of containers: their tasks and shims, their file systems, their folders and mounts."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from services.audit.findings import Finding
from services.containerd import Containerd, find_shims
from services.containers import Container, ContainerTable
from services.containers.create import SNAPSHOT_OWNER_LABEL
from services.containers.image_points import owner_of
from services.containers.model import State
from services.containers.runs.task_making import OWNER_LABEL
from services.errors import EngineError, NotFound

LOOKUPS_AT_ONCE: Final = 8
ID_LENGTH: Final = 64


class Liveliness(Protocol):
    """Whether a container may have a task, or what a task needs."""

    def __call__(self, container: Container) -> bool:
        """True also while it is being started, or cleaned up after its end."""
        ...


class TaskCheck:
    """Records of runs, tasks and shims against containerd's."""

    kind = "tasks"

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        is_lively: Liveliness,
        engine_id: str,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._containerd, self._table, self._is_lively = containerd, table, is_lively
        self._ours = f'labels."{OWNER_LABEL}"=={engine_id}'
        self._disk = disk

    async def look(self) -> list[Finding]:
        """See `Check`."""
        find = partial(find_shims, self._containerd.address, self._containerd.namespace)
        shims = await trio.to_thread.run_sync(find, limiter=self._disk)
        records = {record.id for record in await self._containerd.containers.list()}
        ours = {record.id for record in await self._containerd.containers.list(self._ours)}
        findings = [
            _found("tasks", name, "a shim runs that containerd knows nothing of")
            for name in shims.keys() - records
        ]
        for container_id in ours:
            container = self._table.get(container_id)
            if container is None:
                findings.append(
                    _found("tasks", container_id, "it is in containerd, without a record")
                )
            elif not self._is_lively(container):
                text = f"it is in containerd, and recorded as {container.state.value}"
                findings.append(_found("tasks", container_id, text))
        return findings + await self._without_task()

    async def _without_task(self) -> list[Finding]:
        findings: list[Finding] = []
        limit = trio.CapacityLimiter(LOOKUPS_AT_ONCE)

        async def ask(container: Container) -> None:
            async with limit:
                try:
                    await self._containerd.tasks.get(container.id)
                except NotFound:
                    if container.state.has_task:
                        text = f"it is recorded as {container.state.value}, and has no task"
                        findings.append(_found("tasks", container.id, text))
                except EngineError as error:
                    findings.append(
                        _found("tasks", container.id, f"its state cannot be read: {error}")
                    )

        async with trio.open_nursery() as nursery:
            for container in [one for one in self._table if one.state.has_task]:
                nursery.start_soon(ask, container)
        return findings


class SnapshotCheck:
    """Containers' file systems: each container has its own, and each belongs to a container."""

    kind = "snapshots"

    def __init__(
        self, *, keys: Callable[[str], Awaitable[Sequence[str]]], table: ContainerTable
    ) -> None:
        self._keys, self._table = keys, table

    async def look(self) -> list[Finding]:
        """See `Check`."""
        there = set(await self._keys(SNAPSHOT_OWNER_LABEL))
        return [
            *(
                _found("snapshots", key, "it belongs to no container")
                for key in there
                if not self._table.is_reserved(owner_of(key))
            ),
            *(
                _found("snapshots", one.id, f"container {one.name} has lost its file system")
                for one in self._table
                if one.id not in there and one.state is not State.REMOVING
            ),
        ]


class FolderCheck:
    """What lies below data-root and exec-root by the name of a container."""

    kind = "folders"

    def __init__(
        self,
        *,
        data: Path,
        exec_root: Path,
        table: ContainerTable,
        is_lively: Liveliness,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`data` is the folder of containers' folders."""
        self._data, self._exec_root, self._table = data, exec_root, table
        self._is_lively, self._disk = is_lively, disk

    async def look(self) -> list[Finding]:
        """See `Check`."""
        return await trio.to_thread.run_sync(self._look, limiter=self._disk)

    def _look(self) -> list[Finding]:
        findings = [
            _found("folders", str(self._data / name), "it belongs to no container")
            for name in names_in(self._data)
            if not self._table.is_reserved(name)
        ]
        findings += [
            _found("folders", one.id, f"container {one.name} has lost its folder")
            for one in list(self._table)
            if one.state is not State.REMOVING and not (self._data / one.id).is_dir()
        ]
        for part in ("netns", "shm", "io"):
            folder = self._exec_root / part
            findings += [
                _found("folders", str(folder / name), "no container runs that it is for")
                for name in names_in(folder)
                if not self._is_used(part, name)
            ]
        return findings

    def _is_used(self, part: str, name: str) -> bool:
        """Names that are no container's id belong to execs, which have their container's life.

        Pipes that a start which failed has left are there for the next one.
        """
        if len(name) != ID_LENGTH:
            return True
        container = self._table.get(name)
        return container is not None and (part == "io" or self._is_lively(container))


class MountCheck:
    """Mounts below exec-root against the containers that run."""

    kind = "mounts"

    def __init__(
        self,
        *,
        exec_root: Path,
        table: ContainerTable,
        is_lively: Liveliness,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._exec_root, self._table = exec_root, table
        self._is_lively, self._disk = is_lively, disk

    async def look(self) -> list[Finding]:
        """See `Check`."""
        mounts = await trio.to_thread.run_sync(mount_points, limiter=self._disk)
        inside = f"{self._exec_root}/"
        return [
            _found("mounts", path, "no container runs that it is for")
            for path in sorted(set(mounts))
            if path.startswith(inside) and not self._is_used(path.removeprefix(inside).split("/"))
        ]

    def _is_used(self, parts: Iterable[str]) -> bool:
        """Whether the path names a container that may need it, or none at all."""
        ids = [part for part in parts if len(part) == ID_LENGTH]
        owners = [self._table.get(name) for name in ids]
        return not ids or any(one is not None and self._is_lively(one) for one in owners)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, which may not be there. Blocks."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def mount_points() -> list[str]:
    """Where something is mounted in the engine's mount namespace. Blocks."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return [line.split(" ", 5)[4] for line in text.splitlines()]


def _found(kind: str, subject: str, text: str) -> Finding:
    return Finding(kind=kind, subject=subject, text=text)
