"""A cluster store in memory: versions, unique names and diffs as the real one has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import trio
from msgspec.structs import replace

from services.cluster.ca.authority import Authority
from services.cluster.ca.issuing import new_root_ca
from services.cluster.model.objects import (
    Cluster,
    ClusterNetwork,
    Config,
    Node,
    Secret,
    Service,
    Session,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Delete, Diff, Put, Transaction
from services.cluster.store.contract import NameTaken, OutOfSequence, UseOfNothing

NAMED: Final = ("service", "secret", "config", "network")
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def new_cluster() -> Cluster:
    """A cluster with a root of its own; keys cost time, and one serves all tests."""
    root = new_root_ca(Authority.new(EPOCH))
    return Cluster(
        id="c" * 25,
        created_at=EPOCH,
        updated_at=EPOCH,
        version=1,
        root_ca=root,
    )


@dataclass(frozen=True)
class MemorySnapshot:
    """A copy of all objects."""

    revision: int
    cluster: Cluster
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def _of(self, kind: str) -> Mapping[str, Any]:
        return self.objects.get(kind, MappingProxyType({}))

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._of("node")

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._of("session")

    @property
    def services(self) -> Mapping[str, Service]:
        return self._of("service")

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self._of("task")

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        return self._of("network")

    @property
    def secrets(self) -> Mapping[str, Secret]:
        return self._of("secret")

    @property
    def configs(self) -> Mapping[str, Config]:
        return self._of("config")

    def tasks_of_service(self, service_id: str) -> Sequence[Task]:
        return [one for one in self.tasks.values() if one.service_id == service_id]

    def tasks_of_node(self, node_id: str) -> Sequence[Task]:
        return [one for one in self.tasks.values() if one.node_id == node_id]


class MemoryStore:
    """`behind` objects are committed by somebody else just before the next commit, `leaving` ones
    are taken away then. `ahead` ones were written at another manager: catching up shows them."""

    def __init__(self, *objects: Stored) -> None:
        self._now = MemorySnapshot(revision=1, cluster=new_cluster())
        self._log: list[tuple[int, Stored, bool]] = []  # revision, object, is it gone
        self._changed = trio.Event()
        self.behind: list[Stored] = []
        self.leaving: list[Stored] = []
        self.ahead: list[Stored] = []
        self.age_s = 0.0
        self.put(*objects)

    def snapshot(self) -> MemorySnapshot:
        return self._now

    def put(self, *objects: Stored) -> None:
        """As if another had written them, whatever was there."""
        for one in objects:
            self._apply(Put(one))

    async def commit(self, *transactions: Transaction) -> int:
        await trio.lowlevel.checkpoint()
        self.put(*self.behind)
        self.behind.clear()
        for one in self.leaving:
            self._apply(Delete(one))
        self.leaving.clear()
        for transaction in transactions:
            for used in transaction.uses:
                if used.id not in self._now.objects.get(used.kind, {}):
                    raise UseOfNothing("what was to be used has been removed meanwhile")
            for change in transaction.changes:
                self._check(change)
            for change in transaction.changes:
                self._apply(change)
        return self._now.revision

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()
        self.put(*self.ahead)
        self.ahead.clear()

    async def changed_since(self, revision: int) -> Diff:
        while self._now.revision <= revision:
            await self._changed.wait()
        newest = {one.id: (one, is_gone) for at, one, is_gone in self._log if at > revision}
        return Diff(
            put=tuple(one for one, is_gone in newest.values() if not is_gone),
            deleted=tuple(one for one, is_gone in newest.values() if is_gone),
        )

    def _check(self, change: Put | Delete) -> None:
        wanted = change.object
        if isinstance(wanted, Cluster):
            found: Stored | None = self._now.cluster
        else:
            found = self._now.objects.get(wanted.kind, {}).get(wanted.id)
        if (found.version if found else 0) != wanted.version:
            raise OutOfSequence("rpc error: code = Unknown desc = update out of sequence")
        if isinstance(change, Put) and wanted.kind in NAMED:
            others = self._now.objects.get(wanted.kind, {}).values()
            if any(one.name == wanted.name and one.id != wanted.id for one in others):
                raise NameTaken(wanted.kind, wanted.name)

    def _apply(self, change: Put | Delete) -> None:
        revision = self._now.revision + 1
        one = replace(change.object, version=revision)
        cluster, objects = self._now.cluster, {k: dict(v) for k, v in self._now.objects.items()}
        is_gone = isinstance(change, Delete)
        if isinstance(one, Cluster):
            cluster = one
        elif is_gone:
            del objects[one.kind][one.id]
        else:
            objects.setdefault(one.kind, {})[one.id] = one
        self._log.append((revision, one, is_gone))
        self._now = MemorySnapshot(revision=revision, cluster=cluster, objects=objects)
        self._changed.set()
        self._changed = trio.Event()
