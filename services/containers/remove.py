"""Taking a container away: its row last, so that a removal cut short is found and finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import trio
from loguru import logger

from services.containers.container import Container
from services.containers.files import remove_tree
from services.containers.image_points import snapshot_keys
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.runs.run import Runs
from services.containers.stop import Stopper
from services.containers.table import ContainerTable
from services.containers.volume_points import anonymous_names
from services.errors import Conflict, EngineError, Unavailable

log = logger.bind(service="containers")

ENDED_LIMIT_S: Final = 10.0  # and as long again once nobody waits for slow clients


class RootFilesystems(Protocol):
    """What a removal needs of the images service."""

    async def remove_rootfs(self, key: str) -> None:
        """Drop a container's snapshot; one that is gone already is fine."""


class Volumes(Protocol):
    """What a removal needs of the volumes service."""

    async def remove_anonymous(self, names: Iterable[str], *, container_id: str) -> None:
        """Delete those that no other container uses."""


class Remover:
    """Removes containers, by request, by `--rm`, and after a crash in the middle of either."""

    def __init__(
        self,
        *,
        table: ContainerTable,
        journal: Journal,
        runs: Runs,
        stopper: Stopper,
        root_filesystems: RootFilesystems,
        volumes: Volumes,
        say_farewell: Callable[[Container], Awaitable[None]],
        forget: Callable[[Container], Awaitable[None]],
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`say_farewell` is awaited before a container's files go, `forget` after; both bounded."""
        self._table = table
        self._say_farewell = say_farewell
        self._journal = journal
        self._runs = runs
        self._stopper = stopper
        self._root_filesystems = root_filesystems
        self._volumes = volumes
        self._directory = directory
        self._disk = disk
        self._forget = forget
        self._under_way: set[str] = set()

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove a container; with `force` kill it first if it runs.

        `volumes`: its anonymous volumes too, those that no other container uses.

        Source: Engine API, DELETE /containers/{id}.

        Raises:
            Conflict: it runs and `force` is off, or somebody else is removing it.
        """
        if container.id in self._under_way:
            raise Conflict(f"removal of container {container.name} is already in progress")
        if container.is_running:
            if not force:
                raise Conflict(
                    f'cannot remove container "/{container.name}": container is '
                    f"{container.state.value}: stop the container before removing or force remove"
                )
            await self._kill(container)
        if run := self._runs.get(container):
            # The run cleans up after its task; with --rm it removes the container itself.
            await run.end_within(ENDED_LIMIT_S)
        if self._table.get(container.id) is container:
            await self.remove_stopped(container, volumes=volumes)

    async def remove_stopped(self, container: Container, *, volumes: bool = False) -> None:
        """Remove a container that has no task. Finishes what an earlier try began.

        One with --rm always takes its anonymous volumes along.

        Raises:
            Conflict: it has been started again, or is being removed.
        """
        if container.id in self._under_way:
            raise Conflict(f"removal of container {container.name} is already in progress")
        self._under_way.add(container.id)
        try:
            with trio.CancelScope(shield=True):
                async with container.turn("its removal"):
                    if self._table.get(container.id) is container:
                        takes = volumes or container.definition.host_config.auto_remove
                        await self._remove_parts(container, takes_volumes=takes)
        finally:
            self._under_way.discard(container.id)

    async def finish(self, container: Container) -> None:
        """Try once more what has failed: what was in its way may be gone. Never fails."""
        try:
            await self.remove_stopped(container)
        except EngineError as error:
            log.debug("not removed this time either", container=container.id, error=str(error))

    async def _kill(self, container: Container) -> None:
        try:
            await self._stopper.kill(container)
        except Conflict:
            if container.is_running:
                raise

    async def _remove_parts(self, container: Container, *, takes_volumes: bool) -> None:
        await self._set_state(
            container,
            LifeEvent.REMOVAL_BEGUN,
            removes_volumes=takes_volumes or container.status.removes_volumes,
        )
        try:
            await self._say_farewell(container)
            for key in snapshot_keys(container.definition):
                await self._root_filesystems.remove_rootfs(key)
            await trio.to_thread.run_sync(
                remove_tree, self._directory / container.id, limiter=self._disk
            )
            if container.status.removes_volumes:
                await self._volumes.remove_anonymous(
                    anonymous_names(container.definition), container_id=container.id
                )
        except (EngineError, OSError) as error:
            await self._set_state(container, LifeEvent.REMOVAL_FAILED, error=str(error))
            raise EngineError(
                f'container "/{container.name}" could not be removed: {error}'
            ) from error
        await self._journal.delete(container.id, container_event(container, "destroy"))
        self._table.remove(container)
        await self._forget(container)
        container.tell_removed()
        log.info("container removed", container=container.id)

    async def _set_state(self, container: Container, event: LifeEvent, **changes: Any) -> None:
        """On disk, so that the next daemon finishes what a kill cuts short.

        Not if the disk has no room, which a removal is to make: cut short then, what is left of the
        container can be removed once more.
        """
        state = next_state(container.state, event)
        try:
            await self._journal.change_status(container, state=state, **changes)
        except Unavailable:
            raise
        except EngineError as error:
            log.warning("removal not noted", container=container.id, error=str(error))
            await self._journal.change_in_memory(container, state=state, **changes)
