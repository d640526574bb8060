"""What the control operations need of the rest of the cluster, and of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.cluster.model.objects import JoinTokens, RootCa
from services.cluster.model.snapshot import Diff, Snapshot, Transaction
from services.cluster.model.specs import CaConfig


class ControlStore(Protocol):
    """The cluster's store."""

    def snapshot(self) -> Snapshot:
        """The whole cluster, as last heard. Costs nothing."""

    async def commit(self, *transactions: Transaction) -> int:
        """Write all of each transaction or nothing of it; the revision, which the snapshot has.

        Raises:
            OutOfSequence: an object is of another version than its change says.
            NameTaken: another object of the kind has the name.
            Unavailable: there is no quorum.
        """

    async def changed_since(self, revision: int) -> Diff:
        """Block until the snapshot is newer than `revision`; what has changed since.

        The snapshot that is taken right after, without a checkpoint, is the one it leads to.
        """


class Authority(Protocol):
    """The cluster's certificate authority, as far as its settings go. Nothing here writes."""

    def new_token_secret(self) -> str:
        """The secret half of a join token, drawn anew."""

    def join_tokens(self, root: RootCa) -> JoinTokens:
        """The tokens as users see them: SWMTKN-1-<digest of the root>-<secret>."""

    def new_unlock_key(self) -> str:
        """SWMKEY-1-..., drawn anew."""

    def rotated(self, root: RootCa, config: CaConfig) -> RootCa:
        """`root` with its successor begun: the one in `config`, or one that is made now.

        Raises:
            InvalidParameter: certificate or key in `config` are no good.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWish:
    """Which output of which tasks. `tail` None: all of it. Times are nanoseconds, 0: from ever."""

    service_ids: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()
    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int | None = None
    since_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMessage:
    """One line of a task, with its line feed if it has one. `stream` is 1 or 2."""

    task_id: str
    service_id: str
    node_id: str
    stream: int
    time_ns: int
    data: bytes
    attributes: tuple[tuple[str, str], ...] = ()


class TaskLogs(Protocol):
    """Output of tasks, wherever they run."""

    def read(self, wish: LogWish) -> AbstractAsyncContextManager[AsyncIterator[LogMessage]]:
        """Lines in the order in which each node has them; ends unless `follow`.

        Raises (as an error of the iteration):
            EngineError: what became of some node's part, after what the others had to say.
        """


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
    """Who leads."""

    @property
    def leader_id(self) -> str:
        """The leader's node id; "" while there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What `Control` is made of."""

    store: ControlStore
    authority: Authority
    images: ImageDigests
    local_networks: LocalNetworks
    leadership: Leadership
    logs: TaskLogs
