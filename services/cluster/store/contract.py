"""What the cluster's parts need of the store; `store.ClusterStore` provides it over etcd."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from services.cluster.model.objects import Session, StoredT
from services.cluster.model.snapshot import Diff, Snapshot, Transaction
from services.errors import Conflict

MAX_USES: Final = 1_000
"""What a transaction can be told that it uses: each is a condition and a write of etcd's."""


class OutOfSequence(Conflict):
    """An object has changed since it was read, or has come to be, or has gone."""


class NameTaken(Conflict):
    """Another object of the kind has the name. `kind` is the word in the store's keys."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"rpc error: code = AlreadyExists desc = name conflicts with an existing object: "
            f"{kind} {name} already exists"
        )
        self.kind = kind
        self.name = name


class UseOfNothing(Conflict):
    """Something that was to be named has gone; nothing was written. `snapshot()` shows it."""


class LeadershipLost(Conflict):
    """Who wrote was the leader once and is not any more; nothing was written."""


class ClusterStore(Protocol):
    """The cluster's objects: a mirror in memory, written through to the managers' quorum."""

    def snapshot(self) -> Snapshot:
        """All objects as this node has them; costs next to nothing.

        Raises Unavailable before they were read for the first time.
        """

    async def commit(self, *transactions: Transaction) -> int:
        """Make the transactions' changes, one after another, each whole or not at all.

        Returns the store's revision after the last one; `snapshot()` shows it from then on. Those
        before one that fails stay made. Objects' `version`s are compared, `updated_at` is the
        caller's.

        Raises:
            OutOfSequence: a version is not what is there; `snapshot()` shows what is.
            NameTaken: another object has the name.
            UseOfNothing: what a transaction `uses` is not there.
            Unavailable: no quorum, or none within the limit; it may or may not have been made.
        """

    async def catch_up(self) -> None:
        """Block until `snapshot()` shows all that was committed, by whomever, before the call.

        For who must be sure that something is not there. Raises Unavailable without a quorum.
        """

    async def changed_since(self, revision: int) -> Diff:
        """Block until there is something newer than `revision`, and tell what.

        `snapshot()` called before the next checkpoint is what the diff leads to. Objects that
        changed more than once are in it once. `is_whole` when what changed is not known any more;
        empty when it was no object.
        """

    def session(
        self, session: Session, *, ttl_s: float
    ) -> AbstractAsyncContextManager[SessionLease]:
        """Within the block the node is heard of: `snapshot().sessions` has it, until `ttl_s` has
        passed without a beat. Leaving the block ends it at once, unless another manager has a
        session of the same node by then.
        """


class SessionLease(Protocol):
    """Keeps one session alive."""

    async def beat(self) -> None:
        """Say that the agent lives. Raises Unavailable when the session is lost."""

    def leave(self) -> None:
        """Let the session run out by itself when the block is left: the agent may be on its way
        to another manager, and must not be taken for dead meanwhile."""


class Sealer(Protocol):
    """Keeps what must not lie open on managers' disks from being read there."""

    def seal(self, stored: StoredT) -> StoredT:
        """The object as it may be stored."""

    def open(self, stored: StoredT) -> StoredT:
        """The object again. Raises EngineError for what was sealed with another key."""
