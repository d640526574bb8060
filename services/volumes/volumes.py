"""All that can be done with volumes: what the API calls, and what containers need of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.errors import Conflict, EngineError, NotFound
from services.system.roots import RootMount

from .catalog import VolumeCatalog, volume_event
from .copy_up import copy_up
from .directories import VolumeDirectories
from .filters import VolumeFilters
from .model import Volume, check_driver, made_up_name
from .mounted import MountedVolumes
from .ports import EventSink, Reader
from .requests import Provided, PrunedVolumes, VolumeRequest, named, new_volume

REMOVAL_LIMIT_S: Final = 600.0

log = logger.bind(service="volumes")


class Volumes:
    """`run` is a supervised child; calls wait for it to have loaded the records.

    `uses` tells which containers (ids) refer to which volume.
    """

    def __init__(
        self,
        *,
        store: Reader,
        events: EventSink,
        root: Path,
        uses: Callable[[], Mapping[str, Collection[str]]],
        disk: trio.CapacityLimiter,
    ) -> None:
        self._events, self._uses, self._disk = events, uses, disk
        self._directories = VolumeDirectories(root)
        self._catalog = VolumeCatalog(
            store=store, events=events, directories=self._directories, disk=disk
        )
        self._mounted = MountedVolumes(self._directories, disk=disk)
        self._pins: Counter[str] = Counter()  # used by containers that are being made
        self._is_pruning = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the records, mend what a kill has left, then stand by."""
        await self._catalog.load()
        task_status.started()
        await self._catalog.delete_leftovers()
        await trio.sleep_forever()

    # -- what clients ask for -------------------------------------------------------------------

    async def create(self, request: VolumeRequest) -> Volume:
        """Make a volume; one of that name that is there already is returned as it is.

        Source: Engine API, VolumeCreate.

        Raises:
            InvalidParameter: a name or an option that no volume can have.
            NotFound: there is no such driver.
        """
        await self._catalog.wait_loaded()
        request = named(request)
        check_driver(request.name, request.driver)
        async with self._catalog.changing:
            volume = self._catalog.find(request.name)
            if volume is None:
                volume = new_volume(request)
                await self._catalog.add([volume])
        return volume

    async def select(self, filters: VolumeFilters) -> list[Volume]:
        """The volumes that `filters` let through, by name. Source: Engine API, VolumeList."""
        await self._catalog.wait_loaded()
        used = self._uses()
        return [v for v in self._catalog.present() if filters.choose(v, used)]

    async def get(self, name: str) -> Volume:
        """One volume. Raises NotFound."""
        await self._catalog.wait_loaded()
        return self._catalog.get(name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume and its data. Source: Engine API, VolumeDelete.

        With `force` one that is not there is fine.

        Raises:
            NotFound: there is none of that name.
            Conflict: a container refers to it.
        """
        await self._catalog.wait_loaded()
        if force and self._catalog.find(name) is None:
            return
        await self._remove(name)

    async def remove_anonymous(self, names: Iterable[str], *, container_id: str) -> None:
        """Delete those that no other container than this one, which is being removed, uses."""
        await self._catalog.wait_loaded()
        for name in names:
            with suppress(Conflict, NotFound):
                await self._remove(name, besides=container_id)

    async def prune(self, filters: VolumeFilters, *, named: bool) -> PrunedVolumes:
        """Delete what no container refers to, of those without options. Source: VolumePrune.

        `named`: not only anonymous ones.

        Raises:
            Conflict: another prune is at work.
        """
        await self._catalog.wait_loaded()
        if self._is_pruning:
            raise Conflict("a prune operation is already running")
        self._is_pruning = True
        try:
            pruned = await self._prune(filters, named=named)
        finally:
            self._is_pruning = False
        reclaimed = {"reclaimed": str(pruned.reclaimed_bytes)}
        await self._events.commit(volume_event("prune", "", reclaimed))
        return pruned

    async def size_bytes(self, volume: Volume) -> int:
        """How much data it holds; -1 where that is not ours to say."""
        if volume.needs_mount:
            return -1
        measure = partial(self._directories.size_bytes, volume.name)
        return await trio.to_thread.run_sync(measure, limiter=self._disk)

    def place(self, name: str) -> Path:
        """Where its data lies on the host."""
        return self._directories.data(name)

    # -- for containers -------------------------------------------------------------------------

    @asynccontextmanager
    async def provided(
        self, container_id: str, requests: Sequence[VolumeRequest]
    ) -> AsyncIterator[Provided]:
        """The volumes that a container is made with; until the block ends nobody removes them.

        What had to be made for it goes again when the block fails. Within it, `Provided.claim`
        must be called in the transaction that stores the container.

        Raises:
            InvalidParameter, NotFound: as `create`.
        """
        await self._catalog.wait_loaded()
        async with self._catalog.changing:
            provided = self._find_or_make([named(r) for r in requests], container_id)
            if provided.made:
                await self._catalog.add(provided.made)
            names = [volume.name for volume in provided.volumes]
            self._pins.update(names)
        try:
            yield provided
            self._catalog.note_claimed(provided.made)
        except BaseException:
            self._pins -= Counter(names)
            with trio.CancelScope(shield=True), trio.move_on_after(REMOVAL_LIMIT_S):
                for volume in provided.made:
                    with suppress(EngineError):
                        await self._remove(volume.name)
            raise
        self._pins -= Counter(names)

    async def fill(self, name: str, rootfs: Sequence[RootMount], path: str) -> None:
        """As `copy_up`: give an empty volume what an image has at `path`."""
        holder = f"fill-{made_up_name()}"
        await self.acquire(holder, [name])
        try:
            await copy_up(self.place(name), rootfs, path, disk=self._disk)
        finally:
            with trio.CancelScope(shield=True):
                await self.release(holder)

    async def acquire(self, container_id: str, names: Iterable[str]) -> None:
        """A container is about to run with these: mount what must be mounted.

        Raises:
            NotFound: one is gone, though a container refers to it.
            EngineError: it could not be mounted.
        """
        await self._catalog.wait_loaded()
        for name in names:
            volume = self._catalog.get(name)
            if volume.needs_mount:
                await self._mounted.hold(volume, container_id)
            else:
                make = partial(self._directories.make, name)
                await trio.to_thread.run_sync(make, limiter=self._disk)

    def adopt(self, container_id: str, names: Iterable[str]) -> None:
        """A container that was found running uses these."""
        for name in names:
            volume = self._catalog.find(name)
            if volume is not None and volume.needs_mount:
                self._mounted.adopt(volume, container_id)

    async def release(self, container_id: str) -> None:
        """A container runs no more: unmount what nobody else uses. Goes on past failures."""
        for name in self._mounted.held_by(container_id):
            await self._mounted.let_go(self._catalog.get(name), container_id)

    async def reclaim(self, is_known: Callable[[str], bool]) -> None:
        """Take away what was made for containers that never came to be, and stale mounts.

        `is_known`: whether there is, or is being made, a container with this id.
        """
        await self._catalog.wait_loaded()
        for volume in self._catalog.present():
            if volume.made_for and not is_known(volume.made_for) and not self._pins[volume.name]:
                with suppress(Conflict, NotFound):
                    await self._remove(volume.name)
                    log.info("volume reclaimed", volume=volume.name)
            elif volume.needs_mount:
                await self._mounted.unmount_unheld(volume)

    def recorded(self) -> dict[str, bool]:
        """The names of the volumes, but those being removed: whether the data lies here."""
        return {volume.name: not volume.needs_mount for volume in self._catalog.present()}

    def names_on_disk(self) -> list[str]:
        """Those that have a directory for data. Blocks."""
        return self._directories.names()

    async def mend(self) -> None:
        """Bring records and directories together, as at the start: what has the one gets the other.

        Raises:
            Unavailable: the records are not loaded.
        """
        await self._catalog.mend()

    # -- inside ---------------------------------------------------------------------------------

    def _find_or_make(self, requests: Sequence[VolumeRequest], container_id: str) -> Provided:
        """All volumes asked for, and those of them that are new. Changes nothing."""
        volumes: dict[str, Volume] = {}
        made = []
        for request in requests:
            check_driver(request.name, request.driver)
            volume = volumes.get(request.name) or self._catalog.find(request.name)
            if volume is None:
                volume = new_volume(request, container_id)
                made.append(volume)
            volumes[request.name] = volume
        return Provided(volumes=[volumes[request.name] for request in requests], made=made)

    async def _remove(self, name: str, *, besides: str = "") -> None:
        # Once its data is going it must go whole, though the client leaves.
        with trio.move_on_after(REMOVAL_LIMIT_S, shield=True):
            async with self._catalog.changing:
                volume = self._catalog.get(name)
                users = {*self._uses().get(name, ()), *self._mounted.holders(name)} - {besides}
                if users or self._pins[name]:
                    listed = ", ".join(sorted(users))
                    raise Conflict(f"remove {name}: volume is in use - [{listed}]")
                if volume.needs_mount:
                    await self._mounted.unmount_unheld(volume)
                volume = await self._catalog.begin_removal(volume)
            await self._catalog.finish_removal(volume)

    async def _prune(self, filters: VolumeFilters, *, named: bool) -> PrunedVolumes:
        used = self._uses()
        names: list[str] = []
        reclaimed = 0
        for volume in self._catalog.present():
            if volume.needs_mount or not (named or volume.is_anonymous):
                continue
            if volume.name in used or not filters.choose(volume, used):
                continue
            size = await self.size_bytes(volume)
            try:
                await self._remove(volume.name)
            except EngineError as error:
                log.warning("not pruned", volume=volume.name, error=str(error))
                continue
            names.append(volume.name)
            reclaimed += size
        return PrunedVolumes(names=names, reclaimed_bytes=reclaimed)
