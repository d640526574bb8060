"""Taking a container away: its row last, so that a removal cut short is found and finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

import trio
from loguru import logger

from services.containers.container import Container
from services.containers.files import remove_tree
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.run import Runs
from services.containers.stop import Stopper
from services.containers.table import ContainerTable
from services.errors import Conflict, EngineError

log = logger.bind(service="containers")

ENDED_LIMIT_S: Final = 10.0  # and as long again once nobody waits for slow clients


class RootFilesystems(Protocol):
    """What a removal needs of the images service."""

    async def remove_rootfs(self, key: str) -> None:
        """Drop a container's snapshot; one that is gone already is fine."""


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
        forget: Callable[[Container], Awaitable[None]],
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._table = table
        self._journal = journal
        self._runs = runs
        self._stopper = stopper
        self._root_filesystems = root_filesystems
        self._directory = directory
        self._disk = disk
        self._forget = forget
        self._under_way: set[str] = set()

    async def remove(self, container: Container, *, force: bool = False) -> None:
        """Remove a container; with `force` kill it first if it runs.

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
            await self.remove_stopped(container)

    async def remove_stopped(self, container: Container) -> None:
        """Remove a container that has no task. Finishes what an earlier try began.

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
                        await self._remove_parts(container)
        finally:
            self._under_way.discard(container.id)

    async def _kill(self, container: Container) -> None:
        try:
            await self._stopper.kill(container)
        except Conflict:
            if container.is_running:
                raise

    async def _remove_parts(self, container: Container) -> None:
        await self._set_state(container, LifeEvent.REMOVAL_BEGUN)
        try:
            await self._root_filesystems.remove_rootfs(container.id)
            await trio.to_thread.run_sync(
                remove_tree, self._directory / container.id, limiter=self._disk
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

    async def _set_state(self, container: Container, event: LifeEvent, error: str = "") -> None:
        state = next_state(container.state, event)
        if state is container.state:
            return
        await self._journal.change_status(
            container, state=state, error=error or container.status.error
        )
