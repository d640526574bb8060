"""The volumes there are: in memory by name, as rows on disk, each with its directories.

A row is on disk before its directory is made, and goes after its data is gone. A directory without
a row is taken up as a volume: data is never deleted because a record is missing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio
from loguru import logger

from services.errors import Conflict, EngineError, NotFound, Unavailable
from services.events import Event

from . import records
from .copy_up import finish
from .directories import VolumeDirectories, delete_tree
from .model import LOCAL_DRIVER, Volume
from .ports import EventSink, Reader

T = TypeVar("T")

GATE_S: Final = 5.0

log = logger.bind(service="volumes")


class VolumeCatalog:
    """Changes are made one at a time by whoever holds `changing`."""

    def __init__(
        self,
        *,
        store: Reader,
        events: EventSink,
        directories: VolumeDirectories,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._store, self._events = store, events
        self._directories, self._disk = directories, disk
        self._by_name: dict[str, Volume] = {}
        self._loaded = trio.Event()
        self.changing = trio.Lock()

    async def load(self) -> None:
        """Read the rows, and mend what a kill has left. Once is enough."""
        if not self._loaded.is_set():
            self._by_name = {v.name: v for v in await self._store.read(records.load)}
            await self._mend_all()
            self._loaded.set()

    async def mend(self) -> None:
        """Bring records and directories together once more: what has the one gets the other."""
        await self.wait_loaded()
        async with self.changing:
            await self._mend_all()

    async def _mend_all(self) -> None:
        for name in await self._in_thread(self._directories.names):
            if name not in self._by_name:
                await self._take_up(name)
        for volume in tuple(self._by_name.values()):
            await self._restore(volume)

    async def delete_leftovers(self) -> None:
        """Delete the data that removals cut short have set aside; that may take its time."""
        for path in await self._in_thread(self._directories.leftovers):
            try:
                await self._in_thread(partial(delete_tree, path))
            except OSError as error:
                log.error("volume's data not deleted", path=str(path), error=str(error))

    async def wait_loaded(self) -> None:
        """Raises Unavailable if the rows are not there within 5 s."""
        with trio.move_on_after(GATE_S) as limit:
            await self._loaded.wait()
        if limit.cancelled_caught:
            raise Unavailable("the volumes are being loaded")

    def present(self) -> list[Volume]:
        """All volumes, by name, but those that are being removed."""
        return [v for _, v in sorted(self._by_name.items()) if not v.is_removing]

    def find(self, name: str) -> Volume | None:
        """The volume of that name, unless it is being removed."""
        volume = self._by_name.get(name)
        return None if volume is None or volume.is_removing else volume

    def get(self, name: str) -> Volume:
        """The same. Raises NotFound."""
        volume = self.find(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    async def add(self, volumes: Sequence[Volume]) -> None:
        """Put new ones on disk, with their events; then make their directories.

        Raises:
            Conflict: one of that name is still being removed.
        """
        for volume in volumes:
            if volume.name in self._by_name:
                raise Conflict(f"create {volume.name}: volume is being removed")

        def put_all(connection: sqlite3.Connection) -> None:
            for volume in volumes:
                records.put(connection, volume)

        def make_all() -> None:
            for volume in volumes:
                self._directories.make(volume.name)

        events = [volume_event("create", v.name, {"driver": LOCAL_DRIVER}) for v in volumes]
        with trio.CancelScope(shield=True):  # half of it would be told as none
            await self._events.commit(*events, change=put_all)
            self._by_name |= {volume.name: volume for volume in volumes}
            try:
                await self._in_thread(make_all)
            except OSError as error:
                raise EngineError(
                    f"error while creating volume root path: {error.strerror}: {error.filename}"
                ) from error

    def note_claimed(self, volumes: Iterable[Volume]) -> None:
        """The container that these were made for is on disk, and their rows say so."""
        for volume in volumes:
            self._by_name[volume.name] = msgspec.structs.replace(volume, made_for="")

    async def begin_removal(self, volume: Volume) -> Volume:
        """From now on it will go, whatever happens."""
        going = msgspec.structs.replace(volume, is_removing=True)
        await self._events.commit(change=partial(records.put, volume=going))
        self._by_name[volume.name] = going
        return going

    async def finish_removal(self, volume: Volume) -> None:
        """The data out of sight, then the row, then the data itself.

        Raises:
            EngineError: the data cannot be set aside.
        """
        try:
            aside = await self._in_thread(partial(self._directories.set_aside, volume.name))
            await self._events.commit(
                volume_event("destroy", volume.name, {"driver": LOCAL_DRIVER}),
                change=partial(records.delete, name=volume.name),
            )
            del self._by_name[volume.name]
            if aside is not None:
                await self._in_thread(partial(delete_tree, aside))
        except OSError as error:
            raise EngineError(
                f"remove {volume.name}: {error.strerror}: {error.filename}"
            ) from error

    async def _take_up(self, name: str) -> None:
        """A directory that no row names: another engine's, or our records were set aside."""
        place = self._directories.data(name)
        made = (await self._in_thread(partial(os.stat, place))).st_mtime_ns
        volume = Volume(name=name, created_at_ns=made)
        await self._events.commit(change=partial(records.put, volume=volume))
        self._by_name[name] = volume
        log.info("volume found", volume=name)

    async def _restore(self, volume: Volume) -> None:
        try:
            if volume.is_removing:
                await self.finish_removal(volume)
            elif not volume.needs_mount:
                await self._in_thread(partial(self._mend, volume.name))
        except (EngineError, OSError) as error:
            log.error("volume not restored", volume=volume.name, error=str(error))

    def _mend(self, name: str) -> None:
        self._directories.make(name)
        finish(self._directories.data(name))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def volume_event(action: str, name: str, attributes: Mapping[str, str]) -> Event:
    """An event about a volume."""
    return Event(
        type="volume",
        action=action,
        actor_id=name,
        attributes=dict(attributes),
        time_ns=time.time_ns(),
    )
