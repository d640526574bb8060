"""Secrets and configs as a task's container sees them: files on a tmpfs of the task's own.

    <exec-root>/tasks/<task id>/      the tmpfs; only root of the host gets there
        0, 1, ...                     the files, with owner and mode as the task wants them
        mounts.json                   which file goes where in the container

They are written before the container is made, mounted read-only at its start, and dropped when it
has ended: memory alone ever has them, and kill -9 leaves them for the next engine.

Source: moby, daemon/container_operations_unix.go, setupSecretDir; container/container_unix.go.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from services import typed_json
from services.cluster.agent.errors import Lacking
from services.cluster.agent.expansion import expand_payload
from services.cluster.agent.holdings import Holdings
from services.cluster.model.objects import NodeDescription, Task
from services.cluster.model.task_spec import ContainerSpec, FileTarget
from services.containers.container import Container
from services.containers.labels import task_id_of
from services.containers.spec import MountPoint
from services.errors import EngineError, InvalidParameter
from services.system.memory_folders import mount_memory, unmount_memory

T = TypeVar("T")

SECRETS_AT: Final = "/run/secrets"
MANIFEST: Final = "mounts.json"
SLACK_BYTES: Final = 1024 * 1024  # tmpfs counts whole pages, and the manifest is on it


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """One file. `place` is where it is in the container; the data is never printed."""

    place: str
    uid: int
    gid: int
    mode: int
    data: bytes

    def __repr__(self) -> str:
        return f"TaskFile({self.place!r}, {len(self.data)} bytes)"


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`container` is the name of the one that gets the files, `places` where, in their order."""

    container: str
    places: list[str]


def task_files(task: Task, node: NodeDescription, holdings: Holdings) -> list[TaskFile]:
    """What the task's container is to see.

    Raises:
        Lacking: a secret or config that this node was not told (yet).
        InvalidParameter: a template that is none, or an owner that is no number.
    """
    spec = task.spec.container_spec
    if spec is None:
        return []
    contents = _Contents(task, node, holdings, spec)
    files = []
    for secret in spec.secrets:
        if secret.file is not None:
            data = contents.secret(secret.secret_id)
            files.append(_file(secret.file, SECRETS_AT, data))
    files += [
        _file(config.file, "", contents.config(config.config_id))
        for config in spec.configs
        if config.file is not None
    ]
    return files


class _Contents:
    """The contents of what a task may use, with its templates expanded."""

    def __init__(
        self, task: Task, node: NodeDescription, holdings: Holdings, spec: ContainerSpec
    ) -> None:
        self._holdings, self._spec = holdings, spec
        self._expand = partial(
            expand_payload,
            task=task,
            node=node,
            secret=self._secret_named,
            config=self._config_named,
        )

    def secret(self, secret_id: str) -> bytes:
        """Of a secret that the task has."""
        found = self._holdings.secrets.get(secret_id)
        if found is None:
            raise Lacking(f"secret reference {secret_id} not found")
        return self._expand(_decoded(found.spec.data), found.spec.templating)

    def config(self, config_id: str) -> bytes:
        """Of a config that the task has."""
        found = self._holdings.configs.get(config_id)
        if found is None:
            raise Lacking(f"config reference {config_id} not found")
        return self._expand(_decoded(found.spec.data), found.spec.templating)

    def _secret_named(self, target: str) -> str:
        """As templates ask for it: by its file's name, and not expanded itself."""
        for one in self._spec.secrets:
            if one.file is not None and one.file.name == target:
                found = self._holdings.secrets.get(one.secret_id)
                if found is not None:
                    return _decoded(found.spec.data).decode()
        raise ValueError(f"secret target {target} not found")

    def _config_named(self, target: str) -> str:
        for one in self._spec.configs:
            if one.file is not None and one.file.name == target:
                found = self._holdings.configs.get(one.config_id)
                if found is not None:
                    return _decoded(found.spec.data).decode()
        raise ValueError(f"config target {target} not found")


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InvalidParameter("a secret or config is not base64") from None


def _file(target: FileTarget, folder: str, data: bytes) -> TaskFile:
    place = target.name if target.name.startswith("/") else f"{folder}/{target.name}"
    try:
        uid, gid = int(target.uid or "0"), int(target.gid or "0")
    except ValueError:
        raise InvalidParameter(f"owner of {place} must be a number") from None
    if uid < 0 or gid < 0:
        raise InvalidParameter(f"owner of {place} must not be negative")
    return TaskFile(place=place, uid=uid, gid=gid, mode=target.mode & 0o7777, data=data)


class TaskFolders:
    """The tmpfs of each task; what the containers service is to add to their containers' mounts."""

    def __init__(self, directory: Path, *, disk: trio.CapacityLimiter) -> None:
        self._directory = directory
        self._disk = disk

    async def provide(self, task: Task, files: Sequence[TaskFile]) -> None:
        """Write the files of a task, in place of what it had.

        Raises:
            EngineError: the kernel refuses.
        """
        await self._run(partial(self._provide, task, files))

    async def drop(self, task_id: str) -> None:
        """Take away the files of a task; a container that has them mounted keeps them."""
        await self._run(partial(unmount_memory, self._directory / task_id))

    async def drop_others(self, kept: Callable[[str], bool]) -> None:
        """Take away the files of the tasks of which `kept` says no."""
        names = await self._run(self._names)
        for task_id in names:
            if not kept(task_id):
                await self.drop(task_id)

    async def points(self, container: Container) -> Sequence[MountPoint]:
        """What a start of this container is to mount besides its own."""
        task_id = _task_id(container)
        if not task_id:
            return ()
        return await self._run(partial(_read_points, self._directory / task_id, container.name))

    async def release(self, container: Container) -> None:
        """Its run is over."""
        if await self.points(container):
            await self.drop(_task_id(container))

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)

    def _names(self) -> list[str]:
        return sorted(os.listdir(self._directory)) if self._directory.is_dir() else []

    def _provide(self, task: Task, files: Sequence[TaskFile]) -> None:
        folder = self._directory / task.id
        unmount_memory(folder)
        if not files:
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            mount_memory(folder, SLACK_BYTES + sum(len(file.data) + 4096 for file in files))
            for number, file in enumerate(files):
                _write(folder / str(number), file)
            manifest = _Manifest(container=task.name, places=[file.place for file in files])
            data = msgspec.json.encode(manifest)
            # Last: without it nothing is mounted.
            _write(folder / MANIFEST, TaskFile(place="", uid=0, gid=0, mode=0o400, data=data))
        except OSError as error:
            unmount_memory(folder)
            raise EngineError(f"secrets and configs cannot be written: {error.strerror}") from error


def _task_id(container: Container) -> str:
    """By its labels; "" for one that cannot be a task's. Anybody can write labels."""
    task_id = task_id_of(container.name, container.definition.config.labels)
    return task_id if task_id.isalnum() else ""


def _read_points(folder: Path, name: str) -> Sequence[MountPoint]:
    """Only for the container of that name: a label alone gets nobody the secrets of a task."""
    try:
        manifest = typed_json.decode((folder / MANIFEST).read_bytes(), _Manifest)
    except FileNotFoundError:
        return ()
    if manifest.container != name:
        return ()
    return [
        MountPoint(
            type="bind",
            source=str(folder / str(number)),
            destination=place,
            rw=False,
            recursive=False,
            propagation="rprivate",
        )
        for number, place in enumerate(manifest.places)
    ]


def _write(path: Path, file: TaskFile) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(file.data)
        os.fchown(opened.fileno(), file.uid, file.gid)
        os.fchmod(opened.fileno(), file.mode)
