"""Mounts that somebody above adds to containers' own, at each of their starts.

They are no part of a container's definition: inspect does not show them, and what they stand on may
be gone with the run. The cluster's agent gives tasks their secrets so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.containers.container import Container
from services.containers.spec import MountPoint


class MountAdder(Protocol):
    """Whoever adds mounts."""

    async def points(self, container: Container) -> Sequence[MountPoint]:
        """What a start of this container is to mount besides its own; mostly nothing."""

    async def release(self, container: Container) -> None:
        """Its run is over. Bounded; for containers of others, too."""


class AddedMounts:
    """Asks whoever adds mounts, if there is anybody.

    Attributes:
        adder: None until somebody comes.
    """

    def __init__(self) -> None:
        self.adder: MountAdder | None = None

    async def points(self, container: Container) -> Sequence[MountPoint]:
        """As `MountAdder.points`."""
        return () if self.adder is None else await self.adder.points(container)

    async def release(self, container: Container) -> None:
        """As `MountAdder.release`."""
        if self.adder is not None:
            await self.adder.release(container)
