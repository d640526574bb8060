"""The tasks of a node on its disk: one file each, and one for what else it must know of.

    tasks/<id>.json    a task with the last state that was seen of it
    node.json          networks, log driver, the node itself

No secret is in them: neither the data of secrets, which is not part of a task, nor what a registry
was to be shown, nor keys of networks. So they are enough to go on with what runs, and a new pull
waits for a manager.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio
from loguru import logger

from services import typed_json
from services.cluster.agent.holdings import Kept
from services.cluster.model.objects import Task

log = logger.bind(service="cluster")

_SUFFIX: Final = ".json"


class Records:
    """Reads and writes them; every write is whole or absent, and on disk when it returns."""

    def __init__(self, directory: Path, *, disk: trio.CapacityLimiter) -> None:
        """`directory` is the node's own, mode 0700; it is made at the first write."""
        self._directory = directory
        self._tasks = directory / "tasks"
        self._disk = disk

    async def load(self) -> tuple[list[Task], Kept]:
        """What an earlier engine has left. What cannot be read is set aside and told."""
        return await trio.to_thread.run_sync(self._load, limiter=self._disk)

    async def put(self, task: Task) -> None:
        """Keep a task, in place of what is kept of it."""
        data = msgspec.json.encode(_without_secrets(task))
        path = self._tasks / f"{task.id}{_SUFFIX}"
        await trio.to_thread.run_sync(partial(_write, path, data), limiter=self._disk)

    async def delete(self, task_id: str) -> None:
        """Forget a task; gone already is fine."""
        path = self._tasks / f"{task_id}{_SUFFIX}"
        await trio.to_thread.run_sync(partial(path.unlink, missing_ok=True), limiter=self._disk)

    async def keep(self, kept: Kept) -> None:
        """Keep what there is besides tasks."""
        path = self._directory / "node.json"
        data = msgspec.json.encode(kept)
        await trio.to_thread.run_sync(partial(_write, path, data), limiter=self._disk)

    def _load(self) -> tuple[list[Task], Kept]:
        tasks: list[Task] = []
        for path in sorted(self._tasks.glob(f"*{_SUFFIX}")):
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                tasks.append(typed_json.decode(path.read_bytes(), Task))
                continue
            _set_aside(path)
        kept, path = Kept(), self._directory / "node.json"
        try:
            kept = typed_json.decode(path.read_bytes(), Kept)
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, UnicodeDecodeError):
            _set_aside(path)
        return tasks, kept


def _without_secrets(task: Task) -> Task:
    spec = task.spec.container_spec
    if spec is None or not spec.registry_auth:
        return task
    spec = msgspec.structs.replace(spec, registry_auth="")
    return msgspec.structs.replace(
        task, spec=msgspec.structs.replace(task.spec, container_spec=spec)
    )


def _set_aside(path: Path) -> None:
    log.error("record cannot be read and is set aside", path=str(path))
    path.replace(path.with_name(f"{path.name}.broken"))


def _write(path: Path, data: bytes) -> None:
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)  # or a power cut may undo the rename itself
    finally:
        os.close(opened)
