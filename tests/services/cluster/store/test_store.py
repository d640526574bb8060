"""The store over a real etcd: compare-and-swap, names, sessions, outages."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
import trio

from services.cluster.ca.sealing import ObjectSealer, Sealer, new_data_key
from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import NoQuorum
from services.cluster.model.objects import (
    ClusterNetwork,
    LeavingNetwork,
    Node,
    Secret,
    Service,
    Session,
    Stored,
)
from services.cluster.model.snapshot import Delete, Put, Transaction
from services.cluster.model.specs import NetworkSpec, NodeSpec, SecretSpec, ServiceSpec
from services.cluster.store import EtcdStore, FencedStore, LeadershipLost, NameTaken, OutOfSequence
from services.cluster.store.codec import key_of
from services.cluster.store.contract import UseOfNothing
from services.errors import Unavailable
from tests.services.cluster.etcd_fixtures import (
    RunningMember,
    member_config,
    needs_etcd,
    running,
    running_store,
)
from tests.support.standstill import stop_process

pytestmark = needs_etcd

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def scene() -> AsyncIterator[tuple[EtcdStore, RunningMember]]:
    with member_config() as config:
        async with running(config) as member, running_store(member.client) as store:
            yield store, member


def node(id: str, *, version: int = 0, name: str = "") -> Node:
    spec = NodeSpec(name=name)
    return Node(id=id, created_at=NOW, updated_at=NOW, version=version, spec=spec)


def service(id: str, name: str, *, version: int = 0) -> Service:
    spec = ServiceSpec(name=name)
    return Service(id=id, created_at=NOW, updated_at=NOW, version=version, spec=spec)


def secret(id: str) -> Secret:
    spec = SecretSpec(name=id, data="aHVudGVyMg==")
    return Secret(id=id, created_at=NOW, updated_at=NOW, spec=spec)


def network(id: str, name: str) -> ClusterNetwork:
    return ClusterNetwork(id=id, created_at=NOW, updated_at=NOW, spec=NetworkSpec(name=name))


async def rename(store: EtcdStore, name: str) -> None:
    """What a node is called by now, as another manager sees to it."""
    await store.catch_up()
    present = store.snapshot().nodes["a"]
    await store.commit(put(msgspec.structs.replace(present, spec=NodeSpec(name=name))))


class LosingClient:
    """Stands before a store's client: the first attempt of each write gets no answer.

    It `is_sent`, or is not; then what comes `after_the_first` comes.
    """

    def __init__(
        self,
        store: EtcdStore,
        *,
        after_the_first: Callable[[], Awaitable[None]] | None,
        error: Exception | None = None,
    ) -> None:
        self._client: Any = store._client
        self._error = error or Unavailable("the connection was lost")
        self._is_first = False
        self.after_the_first = after_the_first
        self.is_sent = True
        store._client = cast(EtcdClient, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def transact(self, *arguments: Any) -> Any:
        self._is_first = not self._is_first
        if not self._is_first:
            return await self._client.transact(*arguments)
        if self.is_sent:
            await self._client.transact(*arguments)
        if self.after_the_first is not None:
            await self.after_the_first()
        raise self._error


def put(*stored: Stored) -> Transaction:
    return Transaction(tuple(Put(each) for each in stored))


async def test_what_was_written_is_shown_at_once() -> None:
    """The snapshot after a commit has it, with the revision as its version."""
    async with scene() as (store, _):
        revision = await store.commit(put(node("a"), node("b")))
        nodes = store.snapshot().nodes
        assert {id: each.version for id, each in nodes.items()} == {"a": revision, "b": revision}


async def test_a_change_of_what_was_not_read_is_refused() -> None:
    """Created twice, changed by an old version, changed after it went: nothing is written."""
    async with scene() as (store, _):
        first = await store.commit(put(node("a")))
        await store.commit(put(node("a", version=first, name="new")))
        for stale in (put(node("a")), put(node("a", version=first)), put(node("b", version=first))):
            with pytest.raises(OutOfSequence, match="update out of sequence"):
                await store.commit(put(node("c")), stale)
            present = store.snapshot().nodes["c"]
            await store.commit(Transaction((Delete(present),)))
        assert store.snapshot().nodes["a"].name == "new"


async def test_who_catches_up_sees_what_others_have_written() -> None:
    """Everything that was committed before; without a quorum nobody can be sure."""
    async with scene() as (store, member), running_store(member.client) as other:
        for number in range(20):
            await other.commit(put(node(f"n{number}")))
            await store.catch_up()
            assert f"n{number}" in store.snapshot().nodes
        stop_process(member.pid)
        try:
            with pytest.raises(Unavailable):
                await store.catch_up()
        finally:
            os.kill(member.pid, signal.SIGCONT)


async def test_of_two_managers_one_is_refused() -> None:
    """A mirror that is behind does not hide it: etcd compares."""
    async with scene() as (store, member), running_store(member.client) as other:
        await store.commit(put(node("a")))
        with trio.fail_after(60):
            await other.mirror.reached(store.mirror.revision)
        present = other.snapshot().nodes["a"]
        outcomes: list[str] = []

        async def write(by: EtcdStore, name: str) -> None:
            try:
                await by.commit(put(node("a", version=present.version, name=name)))
                outcomes.append("made")
            except OutOfSequence:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, store, "one")
            nursery.start_soon(write, other, "two")
        assert sorted(outcomes) == ["made", "refused"]


async def test_names_are_unique_in_their_kind() -> None:
    """Free again after a renaming and after a removal; never taken by a change that is refused."""
    async with scene() as (store, _):
        first = await store.commit(put(service("s", "web")))
        with pytest.raises(NameTaken, match="service web already exists"):
            await store.commit(put(service("t", "web")))
        second = await store.commit(put(service("s", "old", version=first)))
        await store.commit(put(service("t", "web")))
        await store.commit(Transaction((Delete(service("s", "old", version=second)),)))
        await store.commit(put(service("u", "old")))
        names = {each.name for each in store.snapshot().services.values()}
        assert names == {"web", "old"}


async def test_what_is_named_stays_or_is_not_named() -> None:
    """Of a service that begins to name a secret, and of the secret's removal in the same instant,
    one is refused, whichever comes first; later removals, after another look, go through."""
    async with scene() as (store, _):
        await store.commit(put(secret("s")))
        for names_first in (True, False):
            seen = store.snapshot()
            present = seen.secrets["s"]
            naming = Transaction((Put(service("a", "a")),), uses=(present,))
            removal = Transaction((Delete(present),), decided_at=seen.revision)
            if names_first:
                await store.commit(naming)
                with pytest.raises(OutOfSequence):
                    await store.commit(removal)
                assert store.snapshot().secrets["s"] == present
                await store.commit(Transaction((Delete(store.snapshot().services["a"]),)))
            else:
                await store.commit(removal)
                with pytest.raises(UseOfNothing):
                    await store.commit(naming)
                assert not store.snapshot().services


async def test_a_service_can_name_more_than_etcd_takes_by_itself() -> None:
    """The last one of many counts as the first one does."""
    count = 300
    async with scene() as (store, _):
        made = [Put(secret(f"s{number}")) for number in range(count)]
        batches = [Transaction(tuple(made[at : at + 60])) for at in range(0, count, 60)]
        await store.commit(*batches)
        uses = tuple(store.snapshot().secrets.values())
        naming = Transaction((Put(service("a", "a")),), uses=uses)
        await store.commit(Transaction((Delete(uses[-1]),)))
        with pytest.raises(UseOfNothing):
            await store.commit(naming)
        await store.commit(Transaction(naming.changes, uses=uses[:-1]))
        assert list(store.snapshot().services) == ["a"]


async def test_a_network_that_is_leaving_cannot_be_named() -> None:
    """Of a service that begins to name it and its removal in the same instant, one is refused; the
    name is free at once, and what is kept of it comes back as it was."""
    async with scene() as (store, _):
        await store.commit(Transaction((Put(network("n", "front")),)))
        for names_first in (True, False):
            seen = store.snapshot()
            present = seen.networks["n"]
            leaving = LeavingNetwork(id="n", created_at=NOW, updated_at=NOW, network=present)
            naming = Transaction((Put(service("a", "a")),), uses=(present,))
            removal = Transaction((Delete(present), Put(leaving)), decided_at=seen.revision)
            if names_first:
                await store.commit(naming)
                with pytest.raises(OutOfSequence):
                    await store.commit(removal)
                assert not store.snapshot().leaving_networks
                await store.commit(Transaction((Delete(store.snapshot().services["a"]),)))
            else:
                await store.commit(removal)
                with pytest.raises(UseOfNothing):
                    await store.commit(naming)
                assert not store.snapshot().services
                assert store.snapshot().leaving_networks["n"].network == present
                await store.commit(Transaction((Put(network("m", "front")),)))


async def test_a_write_that_nobody_answered_is_told_from_another_one() -> None:
    """Made again it is refused, by itself or by who came first; only that is told as a refusal,
    also when others have changed the object since."""
    async with scene() as (store, member), running_store(member.client) as other:
        first = await store.commit(put(node("a")))
        client = LosingClient(store, after_the_first=lambda: rename(other, "again"))
        await store.commit(put(node("a", version=first, name="ours")))
        assert store.snapshot().nodes["a"].name == "again"

        client.after_the_first = None
        present = store.snapshot().nodes["a"]
        await store.commit(put(msgspec.structs.replace(present, spec=NodeSpec(name="plain"))))
        assert store.snapshot().nodes["a"].name == "plain"

        client.after_the_first, client.is_sent = (lambda: rename(other, "theirs")), False
        present = store.snapshot().nodes["a"]
        with pytest.raises(OutOfSequence):
            await store.commit(put(msgspec.structs.replace(present, spec=NodeSpec(name="ours"))))
        assert store.snapshot().nodes["a"].name == "theirs"

        client.is_sent, client.after_the_first = True, None
        await store.commit(Transaction((Delete(store.snapshot().nodes["a"]),)))
        assert not store.snapshot().nodes


async def test_an_election_of_long_ago_is_no_lost_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that meets one waits for its end, whatever writes before it have met."""
    monkeypatch.setattr("services.cluster.store.store.ELECTION_PATIENCE_S", 2.0)
    async with scene() as (store, _):
        client = LosingClient(store, after_the_first=None, error=NoQuorum("etcdserver: no leader"))
        client.is_sent = False
        with trio.move_on_after(0.03):
            await store.commit(put(node("a")))
        await trio.sleep(2.1)
        await store.commit(put(node("b")))


async def test_changes_wake_who_waits() -> None:
    """With what changed, and `snapshot` shows it."""
    async with scene() as (store, _):
        revision = store.snapshot().revision
        seen: list[str] = []

        async def wait() -> None:
            diff = await store.changed_since(revision)
            assert store.snapshot().nodes["a"] == diff.put[0]
            seen.extend(each.id for each in diff.put)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await store.commit(put(node("a")))
        assert seen == ["a"]


async def test_a_session_lasts_as_long_as_its_beats() -> None:
    """It is shown while it lasts, ends with its block, and without beats by itself."""
    async with scene() as (store, _):
        session = Session(id="n", created_at=NOW, updated_at=NOW, addr="10.0.0.1")
        async with store.session(session, ttl_s=60.0) as lease:
            while not store.snapshot().sessions:
                await store.mirror.moved()
            await lease.beat()
        while store.snapshot().sessions:
            await store.mirror.moved()
        async with store.session(session, ttl_s=3.0) as lease:
            while not store.snapshot().sessions:
                await store.mirror.moved()
            with trio.fail_after(60):
                while store.snapshot().sessions:
                    await store.mirror.moved()
            with pytest.raises(Unavailable, match="the session has ended"):
                await lease.beat()


async def test_a_former_leader_writes_nothing() -> None:
    """Its writes are refused from the moment when the leader's key is not the one of its term."""
    async with scene() as (store, _):
        with pytest.raises(LeadershipLost):
            await FencedStore(store, 12345).commit(put(node("a")))
        assert not store.snapshot().nodes


async def test_what_is_sealed_is_not_in_etcd() -> None:
    """A secret's data lies there encrypted, and comes back as it was."""
    with member_config() as config:
        async with running(config) as member:
            store = EtcdStore(member.client, ObjectSealer(Sealer(new_data_key())))
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run)
                await store.wait_ready()
                spec = SecretSpec(name="k", data="aHVudGVyMg==")
                secret = Secret(id="s", created_at=NOW, updated_at=NOW, spec=spec)
                await store.commit(put(secret))
                assert store.snapshot().secrets["s"].spec == spec
                page = await member.client.page(key_of(secret), key_of(secret) + "\0")
                assert b"aHVudGVyMg" not in page.keys[0].value
                assert msgspec.json.decode(page.keys[0].value)["id"] == "s"
                nursery.cancel_scope.cancel()


async def made_in_the_end(store: EtcdStore, stored: Stored) -> None:
    """However long an etcd that goes on takes to lead itself again."""
    while stored.id not in store.snapshot().nodes:
        with suppress(Unavailable, OutOfSequence):
            await store.commit(put(stored))


async def test_a_stopped_etcd_fails_writes_in_time_and_hides_nothing() -> None:
    """Writes end within their limit in a sentence that says what to do; reads go on."""
    async with scene() as (store, member):
        await store.commit(put(node("a")))
        stop_process(member.pid)
        try:
            with trio.fail_after(30), pytest.raises(Unavailable, match="--force-new-cluster"):
                await store.commit(put(node("b")))
            assert set(store.snapshot().nodes) == {"a"}
        finally:
            os.kill(member.pid, signal.SIGCONT)
        # What was asked for last may have been made by now, and may not.
        with trio.fail_after(60):
            await made_in_the_end(store, node("c"))
        assert {"a", "c"} <= set(store.snapshot().nodes)
