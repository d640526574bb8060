"""What containers take on disk: their own files, and those of the image below them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from services.containers.container import Container
from services.errors import NotFound, single_error

AT_ONCE: Final = 4
"""How many snapshots are measured at the same time, by all clients together. Measuring what a
container has written is a walk through its files."""


class Usage(Protocol):
    """What a snapshot takes by itself, without its parents."""

    @property
    def size_bytes(self) -> int:
        """In bytes."""


class Ancestry(Protocol):
    """What a snapshot stands on."""

    @property
    def parent(self) -> str:
        """ "" for the lowest layer."""


class Snapshots(Protocol):
    """containerd's, as far as their sizes go. NotFound if there is no such one."""

    async def usage(self, key: str) -> Usage:
        """What it takes by itself."""

    async def stat(self, key: str) -> Ancestry:
        """What it stands on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`written_bytes`: by the container itself; `total_bytes`: together with its image."""

    written_bytes: int
    total_bytes: int


class Sizes:
    """Measures containers. Slow: for who asks for it."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def written_bytes(self, container: Container) -> int:
        """What a container has written.

        Raises:
            NotFound: its snapshot is gone.
        """
        async with self._limit:
            return (await self._snapshots.usage(container.id)).size_bytes

    async def of(self, container: Container) -> Size:
        """The size of one container.

        Raises:
            NotFound: it was removed meanwhile.
        """
        return await self._measure(container, {})

    async def of_all(self, containers: Iterable[Container]) -> dict[str, Size]:
        """Sizes by container id. One that is removed meanwhile is left out."""
        sizes: dict[str, Size] = {}
        layers: dict[str, tuple[int, str]] = {}

        async def measure(container: Container) -> None:
            try:
                sizes[container.id] = await self._measure(container, layers)
            except NotFound:
                return

        with single_error():
            async with trio.open_nursery() as nursery:
                for container in containers:
                    nursery.start_soon(measure, container)
        return sizes

    async def _measure(self, container: Container, layers: dict[str, tuple[int, str]]) -> Size:
        """`layers`: sizes and parents of the images' layers that were measured before."""
        async with self._limit:
            written, key = await self._layer(container.id)
            total = written
            while key:
                if key not in layers:
                    layers[key] = await self._layer(key)
                size, key = layers[key]
                total += size
        return Size(written_bytes=written, total_bytes=total)

    async def _layer(self, key: str) -> tuple[int, str]:
        usage = await self._snapshots.usage(key)
        return usage.size_bytes, (await self._snapshots.stat(key)).parent
