"""One leader at a time, of those whose lease lives; on a real etcd."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import NoReturn

import pytest
import trio
import trio.testing

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.values import PutKey
from services.cluster.leader.election import Election
from services.cluster.model.objects import ManagerMember, Node
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.store.codec import LEADER_KEY
from services.cluster.store.contract import ClusterStore
from services.errors import Unavailable
from tests.services.cluster.etcd_fixtures import (
    member_config,
    needs_etcd,
    running,
    running_store,
)

pytestmark = needs_etcd

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_next_leads_when_the_leader_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two leads; when it is cancelled, it resigns and the other leads at once."""
    # Without resigning the other one would have to wait for as long.
    monkeypatch.setattr("services.cluster.leader.election.LONE_LEASE_S", 100)
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


async def test_the_only_manager_leads_on_without_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than the lease that it has beside others; the second manager makes it short."""
    monkeypatch.setattr("services.cluster.leader.election.LEASE_S", 1)
    monkeypatch.setattr("services.cluster.leader.election.LONE_LEASE_S", 300)
    terms = 0

    async def lead(_store: ClusterStore) -> None:
        nonlocal terms
        terms += 1
        await trio.sleep_forever()

    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:
            await store.commit(Transaction((Put(manager("a")),)))
            election = Election("a", member.client, store, lead)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(election.run)
                await leads(election)
                assert store.mirror.leader is not None
                before = store.mirror.leader
                with monkeypatch.context() as fault:
                    failed = unheard(fault, member.client)
                    since = trio.current_time()
                    while failed() < 10 or trio.current_time() - since < 2.0:
                        await trio.sleep(0.01)
                assert (election.is_leader, terms) == (True, 1)
                await store.commit(Transaction((Put(manager("b")),)))
                with trio.fail_after(60):
                    while store.mirror.leader is None or store.mirror.leader.lease == before.lease:
                        await store.mirror.moved()
                if terms == 1:  # else this machine has held a beat up for a second
                    assert store.mirror.leader.created == before.created
                nursery.cancel_scope.cancel()


async def test_what_an_earlier_life_has_left_is_taken_over() -> None:
    """Its lease may be long; nobody else waits for the end of it."""
    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:
            lease = await member.client.grant(3600)
            outcome = await member.client.transact([], [PutKey(LEADER_KEY, b"a", lease)])
            await store.mirror.reached(outcome.revision)
            async with trio.open_nursery() as nursery:
                other = Election("b", member.client, store, idle)
                nursery.start_soon(other.run)
                await trio.testing.wait_all_tasks_blocked()
                election = Election("a", member.client, store, idle)
                nursery.start_soon(election.run)
                with trio.fail_after(60):
                    while not (election.is_leader or other.is_leader):
                        await trio.sleep(0.01)
                assert store.mirror.leader is not None
                assert store.mirror.leader.created > outcome.revision
                nursery.cancel_scope.cancel()


async def idle(_store: ClusterStore) -> None:
    await trio.sleep_forever()


def manager(id: str) -> Node:
    place = ManagerMember(addr="192.0.2.1:2377", member_id=id)
    return Node(id=id, created_at=NOW, updated_at=NOW, manager=place)


def unheard(fault: pytest.MonkeyPatch, client: EtcdClient) -> Callable[[], int]:
    """No beat is answered from now on; how many have failed."""
    count = 0

    def keeper() -> NoReturn:
        nonlocal count
        count += 1
        raise Unavailable("no answer")

    fault.setattr(client, "keeper", keeper)
    return lambda: count


async def leads(election: Election) -> None:
    while not election.is_leader:
        await trio.sleep(0.01)
