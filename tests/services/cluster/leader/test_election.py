"""One leader at a time, of those whose lease lives; on a real etcd."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from services.cluster.leader.election import Election
from services.cluster.store.contract import ClusterStore
from tests.services.cluster.etcd_fixtures import (
    member_config,
    needs_etcd,
    running,
    running_store,
)

pytestmark = needs_etcd


async def test_the_next_leads_when_the_leader_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two leads; when it is cancelled, it resigns and the other leads at once."""
    # Without resigning the other one would have to wait for as long.
    monkeypatch.setattr("services.cluster.leader.election.LEASE_S", 100)
    monkeypatch.setattr("services.cluster.leader.election.GIVE_UP_S", 100.0)
    leading: list[str] = []

    def lead_as(id: str) -> object:
        async def lead(_store: ClusterStore) -> None:
            leading.append(id)
            try:
                await trio.sleep_forever()
            finally:
                leading.remove(id)

        return lead

    async with AsyncExitStack() as stack:
        config = stack.enter_context(member_config())
        member = await stack.enter_async_context(running(config))
        scopes: dict[str, trio.CancelScope] = {}
        store = await stack.enter_async_context(running_store(member.client))

        async def stand(id: str) -> None:
            election = Election(id, member.client, store, lead_as(id))  # type: ignore[arg-type]
            with trio.CancelScope() as scopes[id]:
                await election.run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand, "a")
            nursery.start_soon(stand, "b")
            while not leading:
                await trio.sleep(0.01)
            first = leading[0]
            assert store.leader_id == first
            await trio.sleep(1.0)
            assert leading == [first]
            began = trio.current_time()
            scopes[first].cancel()
            while leading in ([], [first]):
                await trio.sleep(0.01)
            assert trio.current_time() - began < 50
            nursery.cancel_scope.cancel()


async def test_a_leader_whose_lease_is_gone_stops() -> None:
    """Also when nobody else wants to lead: what it does would be refused."""
    ended = trio.Event()

    async def lead(_store: ClusterStore) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:
            election = Election("a", member.client, store, lead)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(election.run)
                await leads(election)
                assert store.mirror.leader is not None
                await member.client.revoke(store.mirror.leader.lease)
                with trio.fail_after(30):
                    await ended.wait()
                await leads(election)  # it has stood again
                nursery.cancel_scope.cancel()


async def leads(election: Election) -> None:
    while not election.is_leader:
        await trio.sleep(0.01)
