"""Sessions: keys under leases, which go when nobody says any more that the agent lives."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, LeaseGone
from services.cluster.etcd.values import PutKey
from services.cluster.model.objects import Session
from services.errors import EngineError, Unavailable

from .codec import Codec, key_of

END_LIMIT_S: Final = 2.0


class EtcdSession:
    """One session and its lease."""

    def __init__(self, client: EtcdClient, lease: int, *, ttl_s: float) -> None:
        self._client = client
        self._lease = lease
        self._ttl_s = ttl_s
        self._kept_at = trio.current_time()
        self.is_left = False  # to run out by itself

    def leave(self) -> None:
        """As `SessionLease`'s."""
        self.is_left = True

    async def beat(self) -> None:
        """Begin the session's time anew.

        Managers that are electing a leader do not end it: etcd lets no lease expire meanwhile, and
        gives each its whole time after. Raises Unavailable when it has ended.
        """
        try:
            async with self._client.keeper() as keeper:
                await keeper.beat(self._lease)
        except LeaseGone as error:
            raise Unavailable("the session has ended") from error
        except UNKNOWN_OUTCOME:
            if trio.current_time() - self._kept_at > self._ttl_s:
                raise
            return
        self._kept_at = trio.current_time()


@asynccontextmanager
async def session_lease(
    client: EtcdClient, codec: Codec, session: Session, *, ttl_s: float
) -> AsyncIterator[EtcdSession]:
    """Within the block there is a session of the node. It takes the place of one before."""
    lease = await client.grant(math.ceil(ttl_s))
    held = EtcdSession(client, lease, ttl_s=ttl_s)
    try:
        await client.transact([], [PutKey(key_of(session), codec.encode(session), lease)])
        yield held
    finally:
        if not held.is_left:
            with trio.move_on_after(END_LIMIT_S, shield=True), suppress(EngineError):
                await client.revoke(lease)  # else it ends by itself, when its time is over
