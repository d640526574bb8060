"""A node's part in clusters: begun, joined, left, locked; on real etcds, without containers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace

from services.cluster.info import SwarmInfo
from services.cluster.model.objects import NodeState
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.store import OutOfSequence
from services.errors import Unavailable
from tests.services.cluster.cluster_fixtures import TestNode, nodes
from tests.services.cluster.etcd_fixtures import needs_etcd

pytestmark = [needs_etcd, pytest.mark.timeout(300)]


async def until(condition: Callable[[], bool], limit_s: float = 80.0) -> None:
    with trio.fail_after(limit_s):
        while not condition():
            await trio.sleep(0.02)


def node_states(node: TestNode) -> dict[str, NodeState]:
    snapshot = node.life.store.snapshot()
    return {id: each.status.state for id, each in snapshot.nodes.items()}


async def test_a_new_swarm_has_one_manager_and_outlives_its_daemon() -> None:
    """There is a manager to ask; after a restart it is the same one, with what was stored."""
    async with nodes(1) as (node,):
        assert node.cluster.role_word == "inactive"
        id = await node.init()
        assert node.cluster.role_word == "active/manager"
        cluster = node.cluster.control().swarm.get()
        await until(lambda: node_states(node) == {id: NodeState.READY})
        info = node.cluster.info()
        assert info is not None
        assert (info.node_id, info.nodes, info.managers) == (id, 1, 1)
        networks = node.life.store.snapshot().networks.values()
        assert [each.name for each in networks] == ["ingress"]
        with pytest.raises(Unavailable, match="already part of a swarm"):
            await node.init()

        async with trio.open_nursery() as nursery:
            await node.restart(nursery)
            await until(lambda: node.cluster.role_word == "active/manager")
            assert node.cluster.control().swarm.get().id == cluster.id
            nursery.cancel_scope.cancel()


async def test_nodes_join_and_are_promoted_and_demoted() -> None:
    """A worker that joined becomes a manager and a worker again; there is always a quorum."""
    async with nodes(3) as (first, second, third):
        await first.init()
        await second.join(first, "manager")
        await third.join(first, "worker")
        assert second.cluster.role_word == "active/manager"
        assert third.cluster.role_word == "active/worker"
        await until(lambda: set(node_states(second).values()) == {NodeState.READY})
        with pytest.raises(Unavailable, match="Worker nodes can't be used"):
            third.cluster.control()
        third_info = third.cluster.info()
        assert third_info is not None
        await change_role(first, third_info.node_id, "manager")
        await until(lambda: third.cluster.role_word == "active/manager")
        await until(lambda: set(node_states(third).values()) == {NodeState.READY})
        await until_voters(first, 3)
        await change_role(third, third_info.node_id, "worker")
        await until(lambda: third.cluster.role_word == "active/worker")
        await until_voters(first, 2)
        await until(lambda: set(node_states(first).values()) == {NodeState.READY})
        assert not (third.folder / "swarm" / "etcd").exists()


async def test_a_manager_that_hears_nothing_of_its_demotion_finds_out() -> None:
    """Its etcd is taken away before its agent was told: it asks the others what it is."""
    async with nodes(3) as (first, second, third):
        await first.init()
        await second.join(first, "manager")
        await third.join(first, "manager")
        await until_voters(first, 3)
        third.work.is_deaf = True
        info = third.cluster.info()
        assert info is not None
        await change_role(first, info.node_id, "worker")
        await until_voters(first, 2)
        await until(lambda: third.life.keeper.credentials.identity.role == "worker")
        third.work.is_deaf = False
        await until(lambda: third.cluster.role_word == "active/worker")


async def test_one_manager_goes_on_alone_when_the_others_are_lost() -> None:
    """Without a quorum writes fail; made anew of one, the cluster has all that it had."""
    async with nodes(2) as (first, second):
        await first.init()
        await second.join(first, "manager")
        await until_voters(first, 2)
        cluster = first.cluster.control().swarm.get()
        second.scope.cancel()
        with pytest.raises(Unavailable, match="--force-new-cluster"):
            await written_until_refused(first)
        assert len(first.life.store.snapshot().nodes) == 2
        await until(lambda: "s old" in (first.cluster.info() or SwarmInfo()).error)
        id = await first.init(force_new_cluster=True)
        await until_voters(first, 1)
        assert first.cluster.control().swarm.get().id == cluster.id
        await touch(first)
        roles = {n.id: n.spec.role for n in first.life.store.snapshot().nodes.values()}
        assert sorted(roles.values()) == ["manager", "worker"]
        assert roles[id] == "manager"


async def test_managers_that_went_on_without_the_new_cluster_give_way_to_it() -> None:
    """Two of three manage the old cluster while the one that began it anew is away. When it is back
    they hear that they are no managers any more, and do not tell each other that they still are."""
    async with nodes(3) as (first, second, third), trio.open_nursery() as nursery:
        await first.init()
        await second.join(first, "manager")
        await third.join(first, "manager")
        await until_voters(first, 3)
        for node in (second, third):
            node.scope.cancel()
            await node.ended.wait()
        id = await first.init(force_new_cluster=True)
        first.scope.cancel()
        await first.ended.wait()
        for node in (second, third):
            await node.restart(nursery)
        await until(lambda: second.cluster.role_word == third.cluster.role_word == "active/manager")
        await until_voters(second, 3)
        await touch(second)
        await first.restart(nursery)
        await until(lambda: first.cluster.role_word == "active/manager")
        await until(lambda: second.cluster.role_word == third.cluster.role_word == "active/worker")
        await until(lambda: set(node_states(first).values()) == {NodeState.READY})
        managers = [n.id for n in first.life.store.snapshot().nodes.values() if n.manager]
        assert managers == [id]
        await touch(first)
        nursery.cancel_scope.cancel()


async def test_who_leaves_has_nothing_left() -> None:
    """A manager needs force. Nothing is on disk, and another swarm can be begun."""
    async with nodes(1) as (node,):
        with pytest.raises(Unavailable, match="not part of a swarm"):
            await node.cluster.leave(force=False)
        await node.init()
        with pytest.raises(Unavailable, match="Removing the last manager erases"):
            await node.cluster.leave(force=False)
        await node.cluster.leave(force=True)
        assert node.work.was_cleared
        assert not (node.folder / "swarm").exists()
        assert (node.cluster.role_word, node.cluster.info()) == ("inactive", None)
        await node.init()
        assert node.cluster.role_word == "active/manager"


async def test_an_init_that_fails_leaves_nothing() -> None:
    """The port is taken: an error, and the node is as it was."""
    async with nodes(2) as (node, other):
        other.address = node.address
        await node.init()
        with pytest.raises(Exception, match="Address already in use"):
            await other.init()
        assert other.cluster.role_word == "inactive"
        assert not (other.folder / "swarm").exists()


async def test_a_locked_manager_needs_its_key() -> None:
    """After a restart it is locked; another key does not open it, its own does."""
    async with nodes(1) as (node,):
        await node.init(auto_lock_managers=True)
        key = node.cluster.control().swarm.unlock_key()
        async with trio.open_nursery() as nursery:
            await node.restart(nursery)
            await until(lambda: node.cluster.role_word == "locked")
            with pytest.raises(Unavailable, match="needs to be unlocked"):
                node.cluster.control()
            with pytest.raises(Exception, match="invalid key"):
                await node.cluster.unlock("SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8")
            await node.cluster.unlock(key)
            assert node.cluster.role_word == "active/manager"
            assert node.cluster.control().swarm.unlock_key() == key
            nursery.cancel_scope.cancel()


async def change_role(manager: TestNode, id: str, role: str) -> None:
    while True:
        node = manager.life.store.snapshot().nodes[id]
        put = Put(replace(node, spec=replace(node.spec, role=role)))
        try:
            await manager.life.store.commit(Transaction((put,)))
        except OutOfSequence:  # its session has just changed it too
            continue
        return


async def touch(manager: TestNode) -> None:
    cluster = manager.life.store.snapshot().cluster
    await manager.life.store.commit(Transaction((Put(cluster),)))


async def written_until_refused(manager: TestNode) -> None:
    while True:
        await touch(manager)
        await trio.sleep(0.1)


async def until_voters(manager: TestNode, count: int) -> None:
    with trio.fail_after(80):
        while True:
            members = await manager.life.client.members()
            if len(members) == count and not any(each.is_learner for each in members):
                return
            await trio.sleep(0.05)
