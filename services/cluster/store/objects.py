"""All objects in memory, with what is cheap to ask them, and snapshots that share memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

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
    Task,
)
from services.errors import Unavailable

from .codec import STORED

K = TypeVar("K")
V = TypeVar("V")

_EMPTY: Final[Mapping[str, Task]] = {}


class SharedDict(Generic[K, V]):
    """A dict whose state can be handed out. It is copied when it changes after that, not before.

    A copy costs half a millisecond for 100,000 entries; changes come in batches, and between two
    batches nobody needs more than one.
    """

    def __init__(self) -> None:
        self._items: dict[K, V] = {}
        self._is_shared = False

    @property
    def now(self) -> dict[K, V]:
        """What is in it, to be read at once and not kept."""
        return self._items

    def share(self) -> Mapping[K, V]:
        """What is in it; it will not change."""
        self._is_shared = True
        return self._items

    def changing(self) -> dict[K, V]:
        """What may be changed, at once."""
        if self._is_shared:
            self._items = dict(self._items)
            self._is_shared = False
        return self._items


class TasksBy:
    """Tasks by id, by what one of their attributes is."""

    def __init__(self, attribute: Callable[[Task], str]) -> None:
        self._attribute = attribute
        self._groups: SharedDict[str, SharedDict[str, Task]] = SharedDict()
        self._shared: Mapping[str, Mapping[str, Task]] | None = None

    def change(self, before: Task | None, after: Task | None) -> None:
        """One task came, changed or went."""
        self._shared = None
        new = self._attribute(after) if after is not None else None
        if before is not None and self._attribute(before) != new:
            self._drop(self._attribute(before), before.id)
        if after is not None and new is not None:
            groups = self._groups.now
            if new not in groups:
                groups[new] = SharedDict()
            groups[new].changing()[after.id] = after

    def share(self) -> Mapping[str, Mapping[str, Task]]:
        """What is in it; it will not change. Costs what there is of groups, once after a change."""
        if self._shared is None:
            self._shared = {name: group.share() for name, group in self._groups.now.items()}
        return self._shared

    def _drop(self, name: str, id: str) -> None:
        group = self._groups.now[name]
        del group.changing()[id]
        if not group.now:
            del self._groups.now[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSnapshot:
    """The model's `Snapshot`."""

    revision: int
    cluster_object: Cluster | None
    nodes: Mapping[str, Node]
    sessions: Mapping[str, Session]
    services: Mapping[str, Service]
    tasks: Mapping[str, Task]
    networks: Mapping[str, ClusterNetwork]
    leaving_networks: Mapping[str, LeavingNetwork]
    secrets: Mapping[str, Secret]
    configs: Mapping[str, Config]
    by_service: Mapping[str, Mapping[str, Task]]
    by_node: Mapping[str, Mapping[str, Task]]

    @property
    def cluster(self) -> Cluster:
        """The cluster's own object. Raises Unavailable while it was not written yet."""
        if self.cluster_object is None:
            raise Unavailable("the cluster is being made; try again")
        return self.cluster_object

    def tasks_of_service(self, service_id: str) -> Sequence[Task]:
        """In no order that matters."""
        return tuple(self.by_service.get(service_id, _EMPTY).values())

    def tasks_of_node(self, node_id: str) -> Sequence[Task]:
        """In no order that matters."""
        return tuple(self.by_node.get(node_id, _EMPTY).values())


class Objects:
    """Everything of the cluster. Changed by whoever reads etcd, and by nobody else."""

    def __init__(self) -> None:
        # Values are of the class that the kind says; one dict a kind keeps that from the types.
        self._kinds: dict[str, SharedDict[str, Any]] = {cls.kind: SharedDict() for cls in STORED}
        self._by_service = TasksBy(lambda task: task.service_id)
        self._by_node = TasksBy(lambda task: task.node_id)

    def get(self, kind: str, id: str) -> Stored | None:
        """The object, if it is there."""
        stored: Stored | None = self._kinds[kind].now.get(id)
        return stored

    def ids(self, kind: str) -> set[str]:
        """Of every object of the kind."""
        return set(self._kinds[kind].now)

    def put(self, stored: Stored) -> None:
        """It came to be, or changed."""
        items = self._kinds[stored.kind].changing()
        before = items.get(stored.id)
        items[stored.id] = stored
        if isinstance(stored, Task):
            self._index(before, stored)

    def remove(self, kind: str, id: str) -> Stored | None:
        """It has gone; what it was."""
        before: Stored | None = self._kinds[kind].changing().pop(id, None)
        if isinstance(before, Task):
            self._index(before, None)
        return before

    def snapshot(self, revision: int) -> StoredSnapshot:
        """What is there, which is that of `revision`."""
        shared = {kind: items.share() for kind, items in self._kinds.items()}
        clusters = shared[Cluster.kind]
        return StoredSnapshot(
            revision=revision,
            cluster_object=next(iter(clusters.values()), None),
            nodes=shared[Node.kind],
            sessions=shared[Session.kind],
            services=shared[Service.kind],
            tasks=shared[Task.kind],
            networks=shared[ClusterNetwork.kind],
            leaving_networks=shared[LeavingNetwork.kind],
            secrets=shared[Secret.kind],
            configs=shared[Config.kind],
            by_service=self._by_service.share(),
            by_node=self._by_node.share(),
        )

    def _index(self, before: Task | None, after: Task | None) -> None:
        self._by_service.change(before, after)
        self._by_node.change(before, after)
