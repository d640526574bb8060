"""Volumes with options, and who needs them mounted: running containers, and copies under way."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TypeVar

import trio
from loguru import logger

from services.errors import EngineError

from .directories import VolumeDirectories
from .model import Volume
from .mounting import mount, unmount

T = TypeVar("T")

log = logger.bind(service="volumes")


class MountedVolumes:
    """Mounts a volume for its first holder, unmounts it after its last. One change at a time."""

    def __init__(self, directories: VolumeDirectories, *, disk: trio.CapacityLimiter) -> None:
        self._directories = directories
        self._disk = disk
        self._holders: dict[str, set[str]] = {}
        self._changing = trio.Lock()

    def holders(self, name: str) -> AbstractSet[str]:
        """Who holds a volume now."""
        return self._holders.get(name, set())

    def held_by(self, holder: str) -> list[str]:
        """The names of what somebody holds."""
        return [name for name, holders in self._holders.items() if holder in holders]

    def adopt(self, volume: Volume, holder: str) -> None:
        """It was mounted for this holder by an earlier daemon."""
        self._holders.setdefault(volume.name, set()).add(holder)

    async def hold(self, volume: Volume, holder: str) -> None:
        """Mount it if it is not. Raises EngineError."""
        target = self._directories.data(volume.name)
        async with self._changing:
            await self._in_thread(partial(self._directories.make, volume.name))
            if not await self._is_mounted(volume):
                await mount(volume.options, target)
            self.adopt(volume, holder)

    async def let_go(self, volume: Volume, holder: str) -> None:
        """Unmount it if that was the last holder."""
        self._holders.get(volume.name, set()).discard(holder)
        await self.unmount_unheld(volume)

    async def unmount_unheld(self, volume: Volume) -> None:
        """Unmount it if nobody holds it. A failure is logged: the next one to ask tries again."""
        async with self._changing:
            if self._holders.get(volume.name):
                return
            self._holders.pop(volume.name, None)
            try:
                if await self._is_mounted(volume):
                    await unmount(self._directories.data(volume.name))
            except (EngineError, OSError) as error:
                log.error("volume not unmounted", volume=volume.name, error=str(error))

    async def _is_mounted(self, volume: Volume) -> bool:
        target = self._directories.data(volume.name)
        return await self._in_thread(partial(os.path.ismount, target))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)
