"""Removing all containers that do not run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from loguru import logger

from services.containers.container import Container
from services.errors import Conflict, EngineError, NotFound, single_error
from services.events import Event
from services.matching import has_labels

log = logger.bind(service="containers")

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFilters:
    """Which stopped containers to remove: all of what is given must hold.

    `labels` and `not_labels` are "key" or "key=value"; a container that has every one of
    `not_labels` stays. `until_ns`: made at this instant or before it.
    """

    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    until_ns: int | None = None

    def choose(self, container: Container) -> bool:
        """Whether a container is to go."""
        definition = container.definition
        if container.is_running:
            return False
        if self.until_ns is not None and definition.created_at_ns > self.until_ns:
            return False
        own = definition.config.labels
        if self.not_labels and has_labels(own, self.not_labels):
            return False
        return has_labels(own, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed, and the bytes that were written in it."""

    container_ids: list[str]
    reclaimed_bytes: int


class Journal(Protocol):
    """What a prune needs of the journal."""

    async def tell(self, *events: Event) -> None:
        """Publish events that no change of a row goes with."""


class Pruner:
    """Removes stopped containers; one prune at a time."""

    def __init__(
        self,
        *,
        table: Iterable[Container],
        journal: Journal,
        written_bytes: Callable[[Container], Awaitable[int]],
        remove: Callable[[Container], Awaitable[None]],
    ) -> None:
        """`remove` raises Conflict when the container runs."""
        self._table = table
        self._journal = journal
        self._written_bytes = written_bytes
        self._remove = remove
        self._is_under_way = False

    async def prune(self, filters: PruneFilters) -> Pruned:
        """Remove what `filters` choose; one that cannot be removed is passed over, as dockerd does.

        Source: Engine API, ContainerPrune; moby, daemon/prune.go.

        Raises:
            Conflict: another prune is at work.
        """
        if self._is_under_way:
            raise Conflict("a prune operation is already running")
        self._is_under_way = True
        try:
            removed = await self._remove_all([c for c in self._table if filters.choose(c)])
        finally:
            self._is_under_way = False
        reclaimed = sum(removed.values())
        attributes = {"reclaimed": str(reclaimed)}
        await self._journal.tell(
            Event(
                type="container",
                action="prune",
                actor_id="",
                attributes=attributes,
                time_ns=time.time_ns(),
            )
        )
        return Pruned(container_ids=list(removed), reclaimed_bytes=reclaimed)

    async def _remove_all(self, containers: list[Container]) -> dict[str, int]:
        """Bytes reclaimed by the id of what was removed."""
        removed: dict[str, int] = {}
        limit = trio.CapacityLimiter(AT_ONCE)

        async def remove(container: Container) -> None:
            async with limit:
                try:
                    written = await self._measure(container)
                    await self._remove(container)
                except EngineError as error:
                    log.warning("not pruned", container=container.id, error=str(error))
                else:
                    removed[container.id] = written

        with single_error():
            async with trio.open_nursery() as nursery:
                for container in containers:
                    nursery.start_soon(remove, container)
        return removed

    async def _measure(self, container: Container) -> int:
        """A removal that failed half-way has left no snapshot."""
        try:
            return await self._written_bytes(container)
        except NotFound:
            return 0
