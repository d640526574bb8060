"""The dispatcher over the real store: what nodes report is in etcd, and their sessions too."""

from __future__ import annotations

import msgspec
import pytest
import trio

from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.sessions import Peer
from services.cluster.dispatcher.values import Assignments, SessionMessage, TaskUpdate
from services.cluster.model.objects import NodeDescription, TaskStatus
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.model.swarm_spec import DispatcherConfig
from services.cluster.model.task_state import TaskState
from services.cluster.store import EtcdStore
from services.errors import Unavailable
from tests.services.cluster.etcd_fixtures import member_config, needs_etcd, running, running_store
from tests.support.cluster_objects import NOW, a_cluster, a_node, a_task

pytestmark = needs_etcd

N1 = Peer(node_id="n1", role="worker", addr="192.0.2.9")


async def test_sessions_and_reports_are_in_the_store() -> None:
    """Another manager sees both; a node that is silent is heard of no more, at both."""
    cluster = a_cluster()
    spec = msgspec.structs.replace(
        cluster.spec, dispatcher=DispatcherConfig(heartbeat_period=2_000_000_000)
    )
    cluster = msgspec.structs.replace(cluster, spec=spec)
    with member_config() as config:
        async with (
            running(config) as member,
            running_store(member.client) as store,
            running_store(member.client) as other,
            trio.open_nursery() as nursery,
        ):
            objects = (cluster, a_node("n1"), a_task("t1", node="n1"), a_task("t2", node="n2"))
            await store.commit(Transaction(tuple(Put(each) for each in objects)))
            dispatcher = Dispatcher(store)
            await nursery.start(dispatcher.run)
            async with dispatcher.session(N1, NodeDescription(hostname="one")) as session:
                messages: list[SessionMessage] = [await session.receive() for _ in range(2)]
                assert isinstance(messages[1], Assignments)
                assert [task.id for task in messages[1].tasks] == ["t1"]
                status = TaskStatus(state=TaskState.RUNNING, timestamp=NOW)
                await session.update_status([TaskUpdate(task_id="t1", status=status)])
                await session.beat()
                await reached(other, store.snapshot().revision)
                seen = other.snapshot()
                assert seen.tasks["t1"].status.state == TaskState.RUNNING
                assert seen.nodes["n1"].description.hostname == "one"
                assert set(seen.sessions) == {"n1"}
                with trio.fail_after(60), pytest.raises(Unavailable):
                    while True:
                        await session.receive()
            with trio.fail_after(60):
                while other.snapshot().sessions:
                    await other.changed_since(other.snapshot().revision)
            nursery.cancel_scope.cancel()


async def reached(store: EtcdStore, revision: int) -> None:
    """Wait until a store's mirror has caught up."""
    with trio.fail_after(60):
        while store.snapshot().revision < revision:
            await store.changed_since(store.snapshot().revision)
