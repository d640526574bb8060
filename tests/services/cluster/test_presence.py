"""Managers that are there, as the others see it; on a real etcd."""

from __future__ import annotations

import trio

from services.cluster.presence import Presence
from tests.services.cluster.etcd_fixtures import (
    member_config,
    needs_etcd,
    running,
    running_store,
)

pytestmark = needs_etcd


async def test_a_manager_is_there_until_it_is_not_heard_of() -> None:
    """It stays as long as it beats, and is missed a lease's time after its end."""
    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:

            async def until(present: set[str], limit_s: float) -> None:
                with trio.fail_after(limit_s):
                    while store.present_managers != present:
                        await store.mirror.moved()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(Presence("a", member.client).run)
                await until({"a"}, 30)
                await trio.sleep(4)
                assert store.present_managers == {"a"}
                nursery.cancel_scope.cancel()
            await until(set(), 30)
