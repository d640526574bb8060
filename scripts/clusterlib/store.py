"""A store in memory, with the compare-and-swap of the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from services.cluster.model.objects import (
    KINDS,
    Cluster,
    ClusterNetwork,
    Config,
    LeavingNetwork,
    Node,
    Secret,
    Service,
    Session,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Diff, Put, Transaction
from services.cluster.store.codec import Codec


class Conflicting(Exception):
    """An object's version is not what the transaction says."""


class MemoryStore:
    """It is its own snapshot: a rule reads it and returns before anything changes.

    With a codec each object is written out and read again, as it is on its way through etcd: that
    costs what it costs, and the memory is a manager's.
    """

    def __init__(self, codec: Codec | None = None) -> None:
        self.revision = 0
        self._codec = codec
        self._objects: dict[str, dict[str, Any]] = {kind.kind: {} for kind in KINDS}
        self._by_service: dict[str, dict[str, Task]] = {}
        self._by_node: dict[str, dict[str, Task]] = {}
        self.log: list[tuple[int, Stored, bool]] = []  # revision, object, whether it is deleted
        self.log_begin = 0  # how much of the log was cut off

    @property
    def cluster(self) -> Cluster:
        return next(iter(self._objects["cluster"].values()))  # type: ignore[no-any-return]

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._objects["node"]

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._objects["session"]

    @property
    def services(self) -> Mapping[str, Service]:
        return self._objects["service"]

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self._objects["task"]

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        return self._objects["network"]

    @property
    def leaving_networks(self) -> Mapping[str, LeavingNetwork]:
        return self._objects["leaving-network"]

    @property
    def secrets(self) -> Mapping[str, Secret]:
        return self._objects["secret"]

    @property
    def configs(self) -> Mapping[str, Config]:
        return self._objects["config"]

    def tasks_of_service(self, service_id: str) -> Sequence[Task]:
        return list(self._by_service.get(service_id, {}).values())

    def tasks_of_node(self, node_id: str) -> Sequence[Task]:
        return list(self._by_node.get(node_id, {}).values())

    def commit(self, transaction: Transaction) -> None:
        """All of it or nothing."""
        if len(transaction.changes) > 60:
            raise ValueError("a transaction of more than 60 changes")
        ids = [(one.object.kind, one.object.id) for one in transaction.changes]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a transaction changes one object twice: {transaction}")
        for change in transaction.changes:
            present = self._objects[change.object.kind].get(change.object.id)
            if (present.version if present is not None else 0) != change.object.version:
                raise Conflicting(f"{change.object.kind} {change.object.id}")
        self.revision += 1
        for change in transaction.changes:
            stored = change.object
            before = self._objects[stored.kind].get(stored.id)
            if isinstance(before, Task):
                self._index(before, None)
            if isinstance(change, Put):
                stored = self._stored(stored)
                self._objects[stored.kind][stored.id] = stored
                if isinstance(stored, Task):
                    self._index(stored, stored)
                self.log.append((self.revision, stored, False))
            else:
                del self._objects[stored.kind][stored.id]
                self.log.append((self.revision, change.object, True))

    def put(self, *objects: Stored) -> None:
        """Store objects, whatever is there."""
        for stored in objects:
            present = self._objects[stored.kind].get(stored.id)
            version = present.version if present is not None else 0
            self.commit(Transaction((Put(replace(stored, version=version)),)))

    def diff(self, since: int) -> tuple[Diff, int]:
        """What the log holds from a place on, each object once, and the place to go on from."""
        latest: dict[tuple[str, str], tuple[Stored, bool]] = {}
        for _, stored, is_deleted in self.log[since - self.log_begin :]:
            latest[stored.kind, stored.id] = (stored, is_deleted)
        put = tuple(stored for stored, is_deleted in latest.values() if not is_deleted)
        deleted = tuple(stored for stored, is_deleted in latest.values() if is_deleted)
        return Diff(put, deleted), self.log_begin + len(self.log)

    @property
    def log_end(self) -> int:
        """The place after all that was written so far."""
        return self.log_begin + len(self.log)

    def cut_log(self, before: int) -> None:
        """Forget the log before a place that all readers have passed."""
        if before > self.log_begin:
            del self.log[: before - self.log_begin]
            self.log_begin = before

    def _stored(self, stored: Stored) -> Stored:
        if self._codec is None:
            return replace(stored, version=self.revision)
        return self._codec.decode(stored.kind, self._codec.encode(stored), self.revision)

    def _index(self, task: Task, after: Task | None) -> None:
        for index, key in ((self._by_service, task.service_id), (self._by_node, task.node_id)):
            if after is not None:
                index.setdefault(key, {})[task.id] = after
            elif key in index:
                index[key].pop(task.id, None)
                if not index[key]:
                    del index[key]
