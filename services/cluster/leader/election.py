"""Electing the leader: whose lease holds the leader's key leads, and nobody else writes as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, LeaseGone
from services.cluster.etcd.values import Created, DeleteKey, PutKey
from services.cluster.store.codec import LEADER_KEY
from services.cluster.store.contract import ClusterStore
from services.cluster.store.store import EtcdStore, FencedStore
from services.errors import EngineError

LEASE_S: Final = 2
# Nobody waits to lead in the place of the only manager: one that has too much to do, or whose disk
# is slow, would step down for nothing. A second manager shortens the lease with the next beat.
LONE_LEASE_S: Final = 10
BEAT_S: Final = 0.5
BEAT_LIMIT_S: Final = 1.0
RETRY_BEAT_S: Final = 0.1
RETRY_S: Final = 0.2
RESIGN_LIMIT_S: Final = 1.0

Lead = Callable[[ClusterStore], Awaitable[None]]
"""What the leader does, until cancelled; it is given the store to write through."""

log = logger.bind(service="cluster.election")


@dataclass(slots=True, kw_only=True)
class _Term:
    """How long we lead: as long as the leader's key is the one of `fence`, under a lease of ours.

    Without a beat that went through it is over when the lease may have ended. What is written by
    then is refused by itself once another one leads; a machine that has too much to do for a second
    changes no leader.
    """

    fence: int  # the revision at which the key came to be
    lease: int
    lease_s: int
    kept_at: float  # when the last beat that was heard was sent

    @property
    def is_over(self) -> bool:
        return trio.current_time() - self.kept_at >= self.lease_s


class Election:
    """A supervised child of each manager. `lead` is run while this node is the leader."""

    def __init__(self, node_id: str, client: EtcdClient, store: EtcdStore, lead: Lead) -> None:
        self._node_id = node_id
        self._client = client
        self._store = store
        self._lead = lead
        self.is_leader = False

    async def run(self) -> None:
        """Stand for election whenever there is no leader, until cancelled."""
        await self._store.wait_ready()
        while True:
            try:
                await self._no_leader()
                await self._stand()
            except (*UNKNOWN_OUTCOME, LeaseGone) as error:
                log.bind(error=str(error)).debug("the election cannot be held")
                await trio.sleep(RETRY_S)

    async def _no_leader(self) -> None:
        mirror = self._store.mirror
        while (leader := mirror.leader) is not None:
            if leader.value.decode() != self._node_id:
                await mirror.moved()
                continue
            # A life of ours that was cut off has left it: nobody leads, and its lease may be long.
            outcome = await self._client.transact(
                [Created(LEADER_KEY, leader.created)], [DeleteKey(LEADER_KEY)]
            )
            await mirror.reached(outcome.revision)

    async def _stand(self) -> None:
        """Lead, if we are the first to take the key."""
        began, lease_s = trio.current_time(), self._lease_s()
        term = _Term(
            fence=0, lease=await self._client.grant(lease_s), lease_s=lease_s, kept_at=began
        )
        try:
            outcome = await self._client.transact([Created(LEADER_KEY, 0)], [self._key(term.lease)])
            if outcome.is_done:
                await self._store.mirror.reached(outcome.revision)
                term.fence = outcome.revision
                await self._lead_while_kept(term)
        finally:
            await self._revoke(term.lease)
        if not outcome.is_done:
            await self._store.mirror.reached(outcome.revision)

    def _lease_s(self) -> int:
        managers = [node for node in self._store.snapshot().nodes.values() if node.manager]
        return LEASE_S if len(managers) > 1 else LONE_LEASE_S

    def _key(self, lease: int) -> PutKey:
        return PutKey(LEADER_KEY, self._node_id.encode(), lease)

    async def _revoke(self, lease: int) -> None:
        with trio.move_on_after(RESIGN_LIMIT_S, shield=True), suppress(EngineError):
            await self._client.revoke(lease)

    async def _lead_while_kept(self, term: _Term) -> None:
        log.info("this node leads the cluster")
        self.is_leader = True
        reason = "it was ended"
        try:
            async with trio.open_nursery() as nursery:

                async def lead() -> None:
                    await self._lead(FencedStore(self._store, term.fence))
                    nursery.cancel_scope.cancel()

                nursery.start_soon(lead)
                reason = await self._keep(term)
                nursery.cancel_scope.cancel()
        finally:
            self.is_leader = False
            log.bind(reason=reason).info("this node does not lead the cluster any more")

    async def _keep(self, term: _Term) -> str:
        """Block until the lease is not ours any more, or may not be; why."""
        while not term.is_over:
            leader = self._store.mirror.leader
            if leader is None or leader.created != term.fence:
                return "the leader's key is another's, or nobody's"
            sent_at = trio.current_time()
            try:
                with trio.fail_after(BEAT_LIMIT_S):
                    await self._beat(term)
                term.kept_at = sent_at
            except LeaseGone:
                return "the lease has ended"
            except (*UNKNOWN_OUTCOME, trio.TooSlowError):
                # As long as the lease lasts: what an election has interrupted hangs.
                await trio.sleep(RETRY_BEAT_S)
                continue
            await trio.sleep(BEAT_S)
        return f"no beat was answered for {term.lease_s} s"

    async def _beat(self, term: _Term) -> None:
        """Keep the lease; or have the key under another one, when it is to be longer or shorter.

        Cut off in the middle, the key may be under either: the next beat takes a new one.
        """
        lease_s = self._lease_s()
        if lease_s == term.lease_s:
            async with self._client.keeper() as keeper:
                await keeper.beat(term.lease)
            return
        lease = await self._client.grant(lease_s)
        outcome = await self._client.transact([Created(LEADER_KEY, term.fence)], [self._key(lease)])
        if not outcome.is_done:
            raise LeaseGone("the leader's key is not ours any more")
        former, term.lease, term.lease_s = term.lease, lease, lease_s
        await self._revoke(former)
