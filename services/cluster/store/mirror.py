"""The mirror: the cluster's objects as far as this node has read them, and what changed of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec
import trio
from loguru import logger

from services.cluster.etcd.values import Batch, Deleted, KeyValue
from services.cluster.model.objects import Stored
from services.cluster.model.snapshot import Diff
from services.errors import EngineError, Unavailable

from .codec import LEADER_KEY, Codec, kind_and_id, manager_of_key
from .objects import Objects, StoredSnapshot

REMEMBERED_CHANGES: Final = 20_000  # who is behind by more looks at everything

log = logger.bind(service="cluster.store")


class Mirror:
    """Fed by the store's reader; read by everybody. Nothing in it is written through it."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._objects = Objects()
        self._changes: deque[tuple[int, Stored, bool]] = deque(maxlen=REMEMBERED_CHANGES)
        self._forgotten = 0  # changes up to this revision are not in `_changes`, or not all
        self._snapshot: StoredSnapshot | None = None
        self._moved = trio.lowlevel.ParkingLot()
        self.revision = 0  # 0: never read
        self.leader: KeyValue | None = None
        self.present_managers: set[str] = set()  # node ids

    def snapshot(self) -> StoredSnapshot:
        """As it is now. Raises Unavailable before the first reading."""
        if self.revision == 0:
            raise Unavailable("this manager has not read the cluster's state yet; try again")
        if self._snapshot is None:
            self._snapshot = self._objects.snapshot(self.revision)
        return self._snapshot

    def get(self, kind: str, id: str) -> Stored | None:
        """One object as it is now."""
        return self._objects.get(kind, id)

    async def reached(self, revision: int) -> None:
        """Block until everything up to `revision` has been read. No limit."""
        while self.revision < revision:
            await self._moved.park()

    async def moved(self) -> None:
        """Block until something was read."""
        await self._moved.park()

    def changed_since(self, revision: int) -> Diff | None:
        """What is newer; None for nothing. Empty when what has changed is no object: whoever
        follows is to know that it has seen all up to the present revision.
        """
        if revision < self._forgotten:
            return Diff(is_whole=True)
        newest: dict[tuple[str, str], tuple[Stored, bool]] = {}
        for at, stored, is_put in reversed(self._changes):
            if at <= revision:
                break
            newest.setdefault((stored.kind, stored.id), (stored, is_put))
        if not newest:
            return Diff() if self.revision > revision else None
        found = list(newest.values())[::-1]
        return Diff(
            put=tuple(stored for stored, is_put in found if is_put),
            deleted=tuple(stored for stored, is_put in found if not is_put),
        )

    def first_change(self, kind: str, id: str, after: int) -> tuple[Stored, bool] | None:
        """What became of an object right after a revision, and whether it was there then; None:
        nothing yet. Raises LookupError when that is not known any more."""
        if after < self._forgotten:
            raise LookupError(f"changes after revision {after} are forgotten")
        found = None
        for at, stored, is_put in reversed(self._changes):
            if at <= after:
                break
            if (stored.kind, stored.id) == (kind, id):
                found = stored, is_put
        return found

    def replace_all(self, keys: Iterable[KeyValue], revision: int) -> None:
        """Everything was read anew."""
        self._objects = Objects()
        self.leader = None
        self.present_managers.clear()
        for key in keys:
            self._take(key)
        self._changes.clear()
        self._forgotten = revision
        self._moved_to(revision)

    def apply(self, batch: Batch) -> None:
        """Changes were read, in their order."""
        for event in batch.events:
            change = self._take(event)
            if change is not None:
                if len(self._changes) == REMEMBERED_CHANGES:
                    self._forgotten = self._changes[0][0]
                self._changes.append((event.modified, *change))
        self._moved_to(batch.revision)

    def _take(self, event: KeyValue | Deleted) -> tuple[Stored, bool] | None:
        """What object it changed, and whether it is there now."""
        if event.key == LEADER_KEY:
            self.leader = event if isinstance(event, KeyValue) else None
            return None
        manager = manager_of_key(event.key)
        if manager is not None:
            is_there = isinstance(event, KeyValue)
            (self.present_managers.add if is_there else self.present_managers.discard)(manager)
            return None
        place = kind_and_id(event.key)
        if place is None:
            return None
        if isinstance(event, Deleted):
            gone = self._objects.remove(*place)
            return (gone, False) if gone is not None else None
        try:
            stored = self._codec.decode(place[0], event.value, event.modified)
        except (msgspec.MsgspecError, EngineError) as error:
            # One object that a later version wrote, or that was sealed with another key, must not
            # take the others along.
            log.bind(key=event.key, error=str(error)).error("an object cannot be read")
            return None
        self._objects.put(stored)
        return stored, True

    def _moved_to(self, revision: int) -> None:
        self.revision = revision
        self._snapshot = None
        self._moved.unpark_all()
