"""What the control operations need of the rest of the cluster, and of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.cluster.dispatcher.values import LogMessage, LogOptions, LogSelector
from services.cluster.model.snapshot import Diff, Snapshot, Transaction


class ControlStore(Protocol):
    """The cluster's store."""

    @property
    def age_s(self) -> float:
        """How old what `snapshot` shows may be, in seconds; 0 while changes are followed."""

    def snapshot(self) -> Snapshot:
        """The whole cluster, as last heard. Costs nothing."""

    async def commit(self, *transactions: Transaction) -> int:
        """Write all of each transaction or nothing of it; the revision, which the snapshot has.

        Raises:
            OutOfSequence: an object is of another version than its change says.
            NameTaken: another object of the kind has the name.
            UseOfNothing: what a transaction `uses` is not there.
            Unavailable: there is no quorum.
        """

    async def catch_up(self) -> None:
        """Block until the snapshot has all that was written before, at any manager.

        Raises Unavailable without a quorum.
        """

    async def changed_since(self, revision: int) -> Diff:
        """Block until the snapshot is newer than `revision`; what has changed since.

        The snapshot that is taken right after, without a checkpoint, is the one it leads to.
        """


class TaskLogs(Protocol):
    """Output of tasks, wherever they run. The dispatcher provides it."""

    def subscribe_logs(
        self, selector: LogSelector, options: LogOptions
    ) -> AbstractAsyncContextManager[AsyncIterable[LogMessage]]:
        """Output in each task's own order; it ends unless `follow`."""


class ImageDigests(Protocol):
    """Registries, asked by the manager that takes a service in."""

    async def pinned(self, image: str, registry_auth: str) -> str:
        """`image` with the digest that it has at its registry now, in the familiar spelling.

        Raises:
            EngineError: the registry does not say.
        """


class LocalNetworks(Protocol):
    """The networks of this engine alone."""

    async def name_of(self, ref: str) -> str | None:
        """The name of the local network that `ref` (a name, or the beginning of an id) means."""


class Leadership(Protocol):
    """Who leads, and who could."""

    @property
    def leader_id(self) -> str:
        """The leader's node id; "" while there is none."""

    @property
    def present_managers(self) -> AbstractSet[str]:
        """The node ids of the managers that are heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What `Control` is made of."""

    store: ControlStore
    images: ImageDigests
    local_networks: LocalNetworks
    leadership: Leadership
    logs: TaskLogs
