"""Managers that are there, as the others see it; on a real etcd."""

from __future__ import annotations

from itertools import pairwise

import trio

from services.cluster.etcd.client import EtcdClient
from services.cluster.presence import BEAT_S, LEASE_S, Presence
from tests.services.cluster.etcd_fixtures import (
    member_config,
    needs_etcd,
    running,
    running_store,
)

pytestmark = needs_etcd

LATE_S = LEASE_S - BEAT_S  # from one beat to the next: etcd may have missed it, if we are so slow


class Timed(Presence):
    """Knows when its beats ended."""

    def __init__(self, node_id: str, client: EtcdClient) -> None:
        super().__init__(node_id, client)
        self.beats: list[float] = []

    async def _beat(self, lease: int) -> None:
        await super()._beat(lease)
        self.beats.append(trio.current_time())

    def forget_if_late(self) -> bool:
        """Begin anew if this machine was too busy for its beats; whether that is so."""
        times = [*self.beats, trio.current_time()]
        is_late = any(after - before > LATE_S for before, after in pairwise(times))
        if is_late:
            self.beats.clear()
        return is_late


async def test_a_manager_is_there_until_it_is_not_heard_of() -> None:
    """It stays as long as it beats, and is missed a lease's time after its end."""
    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:

            async def until(present: set[str], limit_s: float) -> None:
                with trio.fail_after(limit_s):
                    while store.present_managers != present:
                        await store.mirror.moved()

            presence = Timed("a", member.client)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(presence.run)
                await until({"a"}, 60)
                with trio.fail_after(120):
                    while not presence.beats or presence.beats[-1] < presence.beats[0] + LEASE_S:
                        await trio.sleep(0.1)
                        is_there = store.present_managers == {"a"}
                        if presence.forget_if_late():
                            await until({"a"}, 60)
                        else:
                            assert is_there
                nursery.cancel_scope.cancel()
            await until(set(), 60)
