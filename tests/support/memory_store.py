"""A cluster's store in memory, with the contract of the real one: versions, diffs, sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec
import trio

from services.cluster.model.objects import (
    Cluster,
    ClusterNetwork,
    Config,
    LeavingNetwork,
    Node,
    Secret,
    Service,
    Session,
    Stored,
    StoredT,
    Task,
)
from services.cluster.model.snapshot import Delete, Diff, Put, Transaction
from services.cluster.store.contract import NameTaken, OutOfSequence, UseOfNothing
from services.errors import Unavailable

Table = dict[tuple[str, str], Stored]
NAMED: Final = (Service, Secret, Config, ClusterNetwork)


@dataclass(frozen=True)
class MemorySnapshot:
    """Satisfies `Snapshot`; indexes are made by looking at everything."""

    revision: int
    table: Mapping[tuple[str, str], Stored] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        return next(iter(self._of(Cluster).values()))

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._of(Node)

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._of(Session)

    @property
    def services(self) -> Mapping[str, Service]:
        return self._of(Service)

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self._of(Task)

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        return self._of(ClusterNetwork)

    @property
    def leaving_networks(self) -> Mapping[str, LeavingNetwork]:
        return self._of(LeavingNetwork)

    @property
    def secrets(self) -> Mapping[str, Secret]:
        return self._of(Secret)

    @property
    def configs(self) -> Mapping[str, Config]:
        return self._of(Config)

    def tasks_of_service(self, service_id: str) -> Sequence[Task]:
        return [task for task in self.tasks.values() if task.service_id == service_id]

    def tasks_of_node(self, node_id: str) -> Sequence[Task]:
        return [task for task in self.tasks.values() if task.node_id == node_id]

    def _of(self, kind: type[StoredT]) -> Mapping[str, StoredT]:
        return MappingProxyType(
            {id: stored for (_, id), stored in self.table.items() if isinstance(stored, kind)}
        )


class MemoryStore:
    """Satisfies `ClusterStore`.

    Attributes:
        is_away: makes every write fail, as without a quorum.
        lagging: committed elsewhere, and not seen here until it catches up.
        behind: committed by somebody else just before the next commit.
        leaving: taken away then.
    """

    def __init__(self, objects: Iterable[Stored] = ()) -> None:
        self.is_away = False
        self.lagging: list[Stored] = []
        self.behind: list[Stored] = []
        self.leaving: list[Stored] = []
        self.age_s = 0.0
        self.commits = 0
        self._table: Table = {}
        self._history: list[tuple[int, Stored, bool]] = []  # revision, object, whether it is gone
        self._revision = 1
        self._grown = trio.Event()
        self._now = MemorySnapshot(0)
        self._apply([Put(stored) for stored in objects])

    def snapshot(self) -> MemorySnapshot:
        return self._now

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unavailable("no quorum")
        if self.lagging:
            late, self.lagging = self.lagging, []
            self._apply([Put(stored) for stored in late])

    async def commit(self, *transactions: Transaction) -> int:
        await trio.lowlevel.checkpoint()
        self.commits += 1
        if self.is_away:
            raise Unavailable("no quorum")
        if self.behind:
            self.put(*self.behind)
            self.behind.clear()
        if self.leaving:
            self.delete(*self.leaving)
            self.leaving.clear()
        for transaction in transactions:
            if any((used.kind, used.id) not in self._table for used in transaction.uses):
                raise UseOfNothing("what was to be used has been removed meanwhile")
            for change in transaction.changes:
                self._check(change)
            self._apply(transaction.changes)
        return self._revision

    async def changed_since(self, revision: int) -> Diff:
        while self._revision <= revision:
            await self._grown.wait()  # what is there already is told without a checkpoint
        last: dict[tuple[str, str], tuple[Stored, bool]] = {}
        for at, stored, is_gone in self._history:
            if at > revision:
                last[stored.kind, stored.id] = (stored, is_gone)
        return Diff(
            put=tuple(stored for stored, is_gone in last.values() if not is_gone),
            deleted=tuple(stored for stored, is_gone in last.values() if is_gone),
        )

    @asynccontextmanager
    async def session(self, session: Session, *, ttl_s: float) -> AsyncIterator[MemoryLease]:
        old = self._table.get(("session", session.id))
        put = msgspec.structs.replace(session, version=old.version if old else 0)
        await self.commit(Transaction((Put(put),)))
        version = self._revision
        lease = MemoryLease(self)
        try:
            yield lease
        finally:
            there = self._table.get(("session", session.id))
            if lease.is_left:
                pass  # no time passes here that would end it
            elif there is not None and there.version == version:
                self._apply([Delete(there)])

    def put(self, *objects: Stored) -> None:
        """Write, whatever is there."""
        self._apply([Put(stored) for stored in objects])

    def delete(self, *objects: Stored) -> None:
        """Take away."""
        self._apply([Delete(stored) for stored in objects])

    def _check(self, change: Put | Delete) -> None:
        wanted = change.object
        there = self._table.get((wanted.kind, wanted.id))
        if (there.version if there else 0) != wanted.version:
            raise OutOfSequence("rpc error: code = Unknown desc = update out of sequence")
        if isinstance(change, Put) and isinstance(wanted, NAMED):
            others = self._now._of(type(wanted)).values()
            if any(one.name == wanted.name and one.id != wanted.id for one in others):
                raise NameTaken(wanted.kind, wanted.name)

    def _apply(self, changes: Iterable[Put | Delete]) -> None:
        self._revision += 1
        for change in changes:
            stored = msgspec.structs.replace(change.object, version=self._revision)
            is_gone = isinstance(change, Delete)
            if is_gone:
                self._table.pop((stored.kind, stored.id), None)
            else:
                self._table[stored.kind, stored.id] = stored
            self._history.append((self._revision, stored, is_gone))
        self._now = MemorySnapshot(self._revision, dict(self._table))
        self._grown.set()
        self._grown = trio.Event()


class MemoryLease:
    """Lives while the store does."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.is_left = False

    def leave(self) -> None:
        self.is_left = True

    async def beat(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._store.is_away:
            raise Unavailable("no quorum")
