"""The store over etcd: a reader that keeps the mirror, and writes by compare-and-swap."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

from services.cluster.etcd.client import EtcdClient, end_of_prefix
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, Compacted, NoQuorum
from services.cluster.etcd.values import KeyValue
from services.cluster.etcd.watch import watching
from services.cluster.model.objects import Session
from services.cluster.model.snapshot import Delete, Diff, Transaction
from services.errors import Conflict, Unavailable

from .codec import LEADER_KEY, ROOT, Codec
from .contract import OutOfSequence, Sealer, SessionLease
from .mirror import Mirror
from .objects import StoredSnapshot
from .sessions import session_lease
from .writes import Operation, operation, refusal

COMMIT_LIMIT_S: Final = 5.0
ELECTION_PATIENCE_S: Final = 3.0  # an election takes less than one; without a quorum none ends
RETRY_S: Final = 0.05
RETRY_READING_S: Final = 0.1

NO_QUORUM: Final = (
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few "
    "managers are online. Make sure more than half of the managers are online. If they are lost, "
    'run "docker swarm init --force-new-cluster" on one that is left'
)

NOBODY_KNOWS: Final = (
    "this manager has lost sight of the others while it wrote: the change may have been made, and "
    "may not; look before you ask again"
)

log = logger.bind(service="cluster.store")


class EtcdStore:
    """`ClusterStore` over our member of etcd. `run` is a supervised child."""

    def __init__(self, client: EtcdClient, sealer: Sealer | None = None) -> None:
        self._client = client
        self._codec = Codec(sealer)
        self._mirror = Mirror(self._codec)
        self._is_following = False
        self._followed_at = 0.0  # trio's clock; when the mirror was known to be fresh at last
        # When etcd first, and last, said of late that it has no leader; trio's clock.
        self._no_leader_since = -math.inf
        self._no_leader_at = -math.inf

    @property
    def leader_id(self) -> str:
        """The leader's node id; "" for none, or none that is known."""
        leader = self._mirror.leader
        return leader.value.decode() if leader is not None else ""

    @property
    def present_managers(self) -> AbstractSet[str]:
        """The node ids of the managers that are heard of."""
        return self._mirror.present_managers

    @property
    def mirror(self) -> Mirror:
        """For the election, which needs the leader's key itself."""
        return self._mirror

    @property
    def age_s(self) -> float:
        """How old what `snapshot` shows may be, in seconds; 0 while changes are followed."""
        return 0.0 if self._is_following else trio.current_time() - self._followed_at

    def snapshot(self) -> StoredSnapshot:
        """As `ClusterStore`'s."""
        return self._mirror.snapshot()

    async def wait_ready(self) -> None:
        """Block until everything was read once. No limit."""
        await self._mirror.reached(1)

    async def changed_since(self, revision: int) -> Diff:
        """As `ClusterStore`'s."""
        while True:
            diff = self._mirror.changed_since(revision)
            if diff is not None:
                return diff
            await self._mirror.moved()

    async def catch_up(self) -> None:
        """As `ClusterStore`'s."""
        with trio.move_on_after(COMMIT_LIMIT_S):
            await self._mirror.reached(await self._newest_revision())
            return
        raise Unavailable(NO_QUORUM)

    async def commit(self, *transactions: Transaction) -> int:
        """As `ClusterStore`'s."""
        return await self.commit_fenced(transactions, fence=None)

    async def commit_fenced(
        self, transactions: tuple[Transaction, ...], *, fence: int | None
    ) -> int:
        """As `commit`; with a fence only while the leader's key is the one of that revision.

        Raises LeadershipLost when it is not, and as `commit`.
        """
        revision = 0
        for transaction in transactions:
            revision = await self._commit_one(transaction, fence)
        return revision

    @asynccontextmanager
    async def session(self, session: Session, *, ttl_s: float) -> AsyncIterator[SessionLease]:
        """As `ClusterStore`'s."""
        async with session_lease(self._client, self._codec, session, ttl_s=ttl_s) as lease:
            yield lease

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the mirror until cancelled. Started at once: see `wait_ready`."""
        task_status.started()
        needs_all = True
        while True:
            try:
                if needs_all:
                    await self._read_all()
                    needs_all = False
                await self._follow()
            except Compacted:
                log.warning("the cluster's history is lost, everything is read anew")
                needs_all = True
            except UNKNOWN_OUTCOME as error:
                log.bind(error=str(error)).debug("the cluster's changes cannot be followed")
                await trio.sleep(RETRY_READING_S)

    async def _read_all(self) -> None:
        read_at = trio.current_time()
        page = await self._client.page(ROOT, end_of_prefix(ROOT))
        revision = page.revision
        keys: list[KeyValue] = list(page.keys)
        while page.next_key:
            page = await self._client.page(page.next_key, end_of_prefix(ROOT), revision=revision)
            keys.extend(page.keys)
        self._mirror.replace_all(keys, revision)
        self._followed_at = read_at

    async def _follow(self) -> None:
        async with watching(self._client, ROOT, after=self._mirror.revision) as watch:
            self._is_following = True
            try:
                while True:
                    self._mirror.apply(await watch.next())
            finally:
                self._is_following = False
                self._followed_at = trio.current_time()

    async def _commit_one(self, transaction: Transaction, fence: int | None) -> int:
        with trio.move_on_after(COMMIT_LIMIT_S):
            await self._check_versions(transaction)
            seen_at = self._mirror.revision
            asked = operation(transaction, self._codec, self._mirror.get, fence=fence)
            revision, error = await self._write(asked)
            await self._mirror.reached(revision)
            if error is None or (error.is_unsure and self._was_made(transaction, seen_at)):
                return revision
            raise error.refusal
        raise Unavailable(NO_QUORUM)

    async def _newest_revision(self) -> int:
        """As the quorum has it; an election is waited for. Raises Unavailable."""
        while True:
            try:
                return (await self._client.page(LEADER_KEY, LEADER_KEY + "\0")).revision
            except UNKNOWN_OUTCOME as error:
                if isinstance(error, NoQuorum):
                    self._note_no_leader()
            await trio.sleep(RETRY_S)

    async def _check_versions(self, transaction: Transaction) -> None:
        """Refuse what is known to be out of sequence, once the mirror is new enough to know."""
        await self._mirror.reached(max((c.object.version for c in transaction.changes), default=0))
        for change in transaction.changes:
            present = self._mirror.get(change.object.kind, change.object.id)
            if (present.version if present is not None else 0) != change.object.version:
                raise OutOfSequence("rpc error: code = Unknown desc = update out of sequence")

    async def _write(self, asked: Operation) -> tuple[int, _Refused | None]:
        """The revision at which it was made, or refused."""
        is_unsure = False
        while True:
            try:
                outcome = await self._client.transact(asked.conditions, asked.writes)
            except UNKNOWN_OUTCOME as error:
                is_unsure = True
                if isinstance(error, NoQuorum):
                    self._note_no_leader()
                await trio.sleep(RETRY_S)
                continue
            if outcome.is_done:
                return outcome.revision, None
            return outcome.revision, _Refused(refusal(asked, outcome.found), is_unsure)

    def _was_made(self, transaction: Transaction, seen_at: int) -> bool:
        """Whether an attempt that nobody answered is what the object has become after `seen_at`,
        whatever others have made of it since.

        Raises Unavailable when that cannot be known.
        """
        change = transaction.changes[0]  # all of them were made, or none
        try:
            became = self._mirror.first_change(change.object.kind, change.object.id, seen_at)
        except LookupError as error:
            raise Unavailable(NOBODY_KNOWS) from error
        if became is None:
            return False
        stored, is_there = became
        if isinstance(change, Delete):
            return not is_there
        return is_there and self._codec.is_same(stored, change.object)

    def _note_no_leader(self) -> None:
        """Raises Unavailable when there has been none for so long that there will be none soon."""
        now = trio.current_time()
        if now - self._no_leader_at > ELECTION_PATIENCE_S:
            self._no_leader_since = now  # what was before is another story
        self._no_leader_at = now
        alone_s = max(now - self._no_leader_since, self.age_s)
        if alone_s > ELECTION_PATIENCE_S:
            raise Unavailable(NO_QUORUM)


@dataclass(frozen=True, slots=True)
class _Refused:
    """`is_unsure`: an attempt before this one may have gone through, and be what is in the way."""

    refusal: Conflict
    is_unsure: bool


class FencedStore:
    """A store through which only the leader of one term writes."""

    def __init__(self, store: EtcdStore, fence: int) -> None:
        self._store = store
        self._fence = fence

    def snapshot(self) -> StoredSnapshot:
        """As `ClusterStore`'s."""
        return self._store.snapshot()

    async def changed_since(self, revision: int) -> Diff:
        """As `ClusterStore`'s."""
        return await self._store.changed_since(revision)

    async def catch_up(self) -> None:
        """As `ClusterStore`'s."""
        await self._store.catch_up()

    async def commit(self, *transactions: Transaction) -> int:
        """As `ClusterStore`'s; raises LeadershipLost too."""
        return await self._store.commit_fenced(transactions, fence=self._fence)

    @asynccontextmanager
    async def session(self, session: Session, *, ttl_s: float) -> AsyncIterator[SessionLease]:
        """As `ClusterStore`'s. Not fenced: sessions belong to managers, not to the leader."""
        async with self._store.session(session, ttl_s=ttl_s) as lease:
            yield lease
