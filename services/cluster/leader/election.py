"""Electing the leader: whose lease holds the leader's key leads, and nobody else writes as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, LeaseGone
from services.cluster.etcd.values import Created, PutKey
from services.cluster.store.codec import LEADER_KEY
from services.cluster.store.contract import ClusterStore
from services.cluster.store.store import EtcdStore, FencedStore
from services.errors import EngineError

LEASE_S: Final = 2
BEAT_S: Final = 0.5
BEAT_LIMIT_S: Final = 1.0
RETRY_BEAT_S: Final = 0.1
# Without a beat that went through we stop when the lease may have ended. What is written by then is
# refused by itself once another one leads; a machine that has too much to do for a second changes
# no leader.
GIVE_UP_S: Final = float(LEASE_S)
RETRY_S: Final = 0.2
RESIGN_LIMIT_S: Final = 1.0

Lead = Callable[[ClusterStore], Awaitable[None]]
"""What the leader does, until cancelled; it is given the store to write through."""

log = logger.bind(service="cluster.election")


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
            await self._no_leader()
            try:
                await self._stand()
            except (*UNKNOWN_OUTCOME, LeaseGone) as error:
                log.bind(error=str(error)).debug("the election cannot be held")
                await trio.sleep(RETRY_S)

    async def _no_leader(self) -> None:
        mirror = self._store.mirror
        while mirror.leader is not None:
            await mirror.moved()

    async def _stand(self) -> None:
        """Lead, if we are the first to take the key."""
        began = trio.current_time()
        lease = await self._client.grant(LEASE_S)
        try:
            outcome = await self._client.transact(
                [Created(LEADER_KEY, 0)], [PutKey(LEADER_KEY, self._node_id.encode(), lease)]
            )
            if outcome.is_done:
                await self._store.mirror.reached(outcome.revision)
                await self._lead_while_kept(lease, outcome.revision, began)
        finally:
            with trio.move_on_after(RESIGN_LIMIT_S, shield=True), suppress(EngineError):
                await self._client.revoke(lease)
        if not outcome.is_done:
            await self._store.mirror.reached(outcome.revision)

    async def _lead_while_kept(self, lease: int, fence: int, began: float) -> None:
        log.info("this node leads the cluster")
        self.is_leader = True
        reason = "it was ended"
        try:
            async with trio.open_nursery() as nursery:

                async def lead() -> None:
                    await self._lead(FencedStore(self._store, fence))
                    nursery.cancel_scope.cancel()

                nursery.start_soon(lead)
                reason = await self._keep(lease, fence, began)
                nursery.cancel_scope.cancel()
        finally:
            self.is_leader = False
            log.bind(reason=reason).info("this node does not lead the cluster any more")

    async def _keep(self, lease: int, fence: int, kept_at: float) -> str:
        """Block until the lease is not ours any more, or may not be; why. `kept_at`: when it
        began."""
        while trio.current_time() - kept_at < GIVE_UP_S:
            leader = self._store.mirror.leader
            if leader is None or leader.created != fence:
                return "the leader's key is another's, or nobody's"
            sent_at = trio.current_time()
            try:
                with trio.fail_after(BEAT_LIMIT_S):
                    async with self._client.keeper() as keeper:
                        await keeper.beat(lease)
                kept_at = sent_at
            except LeaseGone:
                return "the lease has ended"
            except (*UNKNOWN_OUTCOME, trio.TooSlowError):
                # As long as the lease lasts: what an election has interrupted hangs.
                await trio.sleep(RETRY_BEAT_S)
                continue
            await trio.sleep(BEAT_S)
        return f"no beat was answered for {GIVE_UP_S:g} s"
