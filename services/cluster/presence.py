"""A manager says that it is there: by a key under a lease, which the others see go.

Its agent's session does not serve for that: it is to outlive a daemon that is only started anew.
"""

from __future__ import annotations

from typing import Final

import trio
from loguru import logger

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, LeaseGone
from services.cluster.etcd.values import PutKey
from services.cluster.store.codec import manager_key_of

LEASE_S: Final = 3  # a manager that ends is missed after it; a part of a second more until it shows
BEAT_S: Final = 1.0
BEAT_LIMIT_S: Final = 2.0
RETRY_S: Final = 0.5

log = logger.bind(service="cluster.presence")


class Presence:
    """A supervised child of each manager."""

    def __init__(self, node_id: str, client: EtcdClient) -> None:
        self._node_id = node_id
        self._client = client

    async def run(self) -> None:
        """Until cancelled; then the lease runs out by itself, also if this manager comes back."""
        while True:
            try:
                await self._be_there()
            except (*UNKNOWN_OUTCOME, LeaseGone) as error:
                log.bind(error=str(error)).debug("the other managers cannot be told of this one")
            await trio.sleep(RETRY_S)

    async def _be_there(self) -> None:
        lease = await self._client.grant(LEASE_S)
        await self._client.transact([], [PutKey(manager_key_of(self._node_id), b"", lease)])
        while True:
            await self._beat(lease)
            await trio.sleep(BEAT_S)

    async def _beat(self, lease: int) -> None:
        """Raises LeaseGone. Without a quorum no lease ends, so a beat that fails is no news."""
        try:
            with trio.fail_after(BEAT_LIMIT_S):
                async with self._client.keeper() as keeper:
                    await keeper.beat(lease)
        except (*UNKNOWN_OUTCOME, trio.TooSlowError) as error:
            log.bind(error=str(error)).debug("a beat was not heard")
