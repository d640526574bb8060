"""Checks of what is stored: the database, volumes, images and the leases that keep them."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import trio

from services.audit.findings import Finding
from services.containerd import Containerd
from services.errors import NotFound

T = TypeVar("T")


class Reader(Protocol):
    """What a check needs of the store."""

    async def read(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """The closure's answer, on a snapshot, in a thread."""
        ...


class StoreCheck:
    """SQLite's own word on the database."""

    kind = "store"

    def __init__(self, store: Reader) -> None:
        self._store = store

    async def look(self) -> list[Finding]:
        """See `Check`. Reads the whole file."""
        lines = await self._store.read(_quick_check)
        return [Finding(kind="store", subject="database", text=line) for line in lines]


class VolumeCheck:
    """Volumes' records against their directories."""

    kind = "volumes"

    def __init__(
        self,
        *,
        records: Callable[[], Mapping[str, bool]],
        directories: Callable[[], Collection[str]],
        disk: trio.CapacityLimiter,
    ) -> None:
        """`records`: the names, and whether the data lies here; `directories` blocks."""
        self._records, self._directories, self._disk = records, directories, disk

    async def look(self) -> list[Finding]:
        """See `Check`."""
        there = set(await trio.to_thread.run_sync(self._directories, limiter=self._disk))
        known = self._records()
        return [
            *(_volume(name, "its directory has no record") for name in there - known.keys()),
            *(
                _volume(name, "its data is gone")
                for name, lies_here in known.items()
                if lies_here and name not in there
            ),
        ]


class ImageCheck:
    """Each image's first blob is in the content store."""

    kind = "images"

    def __init__(self, *, containerd: Containerd) -> None:
        self._containerd = containerd

    async def look(self) -> list[Finding]:
        """See `Check`."""
        findings = []
        for record in await self._containerd.images.list():
            try:
                await self._containerd.content.info(record.target.digest)
            except NotFound:
                text = f"its manifest {record.target.digest} is not in the content store"
                findings.append(Finding(kind="images", subject=record.name, text=text))
        return findings


class LeaseCheck:
    """Leases of ours, and half-made blobs, that nobody works under."""

    kind = "leases"

    def __init__(
        self,
        *,
        containerd: Containerd,
        prefix: str,
        held: Callable[[], Collection[str]],
        ingests: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        """`held` are the leases in use; `ingests` the names of blobs that are not complete."""
        self._containerd, self._prefix = containerd, prefix
        self._held, self._ingests = held, ingests

    async def look(self) -> list[Finding]:
        """See `Check`. What an unfinished pull left is kept for the next one, and is none."""
        leases = [lease.id for lease in await self._containerd.leases.list()]
        ingests = await self._ingests()
        held = self._held()
        lost = [name for name in leases if name.startswith(self._prefix) and name not in held]
        half_made = [
            name
            for name in ingests
            if name.startswith(self._prefix) and not any(name.startswith(one) for one in held)
        ]
        return [
            *(_lease(name, "nobody works under this lease") for name in lost),
            *(_lease(name, "nobody goes on with this half-made blob") for name in half_made),
        ]


def _quick_check(connection: sqlite3.Connection) -> list[str]:
    rows = [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
    return [] if rows == ["ok"] else rows


def _volume(name: str, text: str) -> Finding:
    return Finding(kind="volumes", subject=name, text=text)


def _lease(name: str, text: str) -> Finding:
    return Finding(kind="leases", subject=name, text=text)
