"""Sessions of nodes with a manager's dispatcher, over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
import trio
import trio.testing

from services.cluster.ca.issuing import issuer_id
from services.cluster.dispatcher.dispatcher import REACH_LIMIT_S, Dispatcher
from services.cluster.dispatcher.local import READY_LIMIT_S, LocalSource
from services.cluster.dispatcher.sessions import Peer
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import (
    Assignments,
    LogMessage,
    LogOptions,
    LogRequest,
    LogSelector,
    LogStop,
    SessionFacts,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.model.objects import (
    Cluster,
    ManagerMember,
    NetworkKey,
    NodeDescription,
    Stored,
    TaskStatus,
)
from services.cluster.model.snapshot import Delete, Diff, Transaction
from services.cluster.model.task_state import TaskState
from services.errors import Forbidden, NotFound, Unavailable
from tests.support.cluster_objects import (
    NOW,
    a_cluster,
    a_config,
    a_network,
    a_node,
    a_secret,
    a_task,
)
from tests.support.managers import Held, credentials_of
from tests.support.memory_store import MemoryStore

N1 = Peer(node_id="n1", role="worker", addr="192.0.2.9")


@asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[Dispatcher]:
    """A dispatcher at work."""
    dispatcher = Dispatcher(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(dispatcher.run)
        yield dispatcher
        nursery.cancel_scope.cancel()


def source(dispatcher: Dispatcher, node_id: str = "n1") -> LocalSource:
    """As a node's own."""
    cluster = dispatcher.now().snapshot.cluster
    held = Held(credentials_of(cluster, node_id, "worker"))
    return LocalSource(dispatcher, held, addr="192.0.2.9")


async def work(session: Session) -> Assignments:
    """The next message that is about work."""
    while True:
        message = await session.receive()
        if isinstance(message, Assignments):
            return message


def ids(assignments: Assignments) -> dict[str, list[str]]:
    """What is in it, by kind."""
    return {
        "tasks": [task.id for task in assignments.tasks],
        "secrets": [secret.id for secret in assignments.secrets],
        "configs": [config.id for config in assignments.configs],
        "networks": [view.network.id for view in assignments.networks],
    }


async def test_a_session_begins_with_the_facts_and_all_the_work(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And with nothing that is of other nodes."""
    manager = a_node("m", role="manager")
    store = MemoryStore(
        [
            a_cluster(),
            a_node("n1"),
            msgspec.structs.replace(manager, manager=ManagerMember(addr="192.0.2.1:2377")),
            a_secret("s1"), a_secret("s2"), a_config("c1"), a_config("c2"),
            a_network("net1"), a_network("net2"), a_network("in", ingress=True),
            a_task("t1", node="n1", secrets=("s1",), configs=("c1",),
                   networks={"net1": "10.0.1.3/24"}),
            a_task("t2", node="n2", secrets=("s2",), configs=("c2",),
                   networks={"net2": "10.0.1.3/24"}),
            a_task("t3", node="n1", state=TaskState.PENDING),
        ]
    )  # fmt: skip
    async with running(store) as dispatcher, source(dispatcher).session(NodeDescription()) as own:
        facts = await own.receive()
        assert isinstance(facts, SessionFacts)
        assert facts.managers == ("192.0.2.1:2377",)
        assert facts.node.id == "n1"
        assert "CERTIFICATE" in facts.root_certificates
        assert "PRIVATE" not in msgspec.json.encode(facts).decode()
        first = await own.receive()
        assert isinstance(first, Assignments)
        assert first.is_complete
        assert ids(first) == {
            "tasks": ["t1"], "secrets": ["s1"], "configs": ["c1"], "networks": ["in", "net1"],
        }  # fmt: skip


async def test_changes_are_told_as_they_happen(autojump_clock: trio.testing.MockClock) -> None:
    """A task comes, is asked to stop, ends, is deleted: each once, with what it needs."""
    store = MemoryStore([a_cluster(), a_node("n1"), a_secret("s1")])
    async with running(store) as dispatcher, source(dispatcher).session(NodeDescription()) as own:
        assert ids(await work(own))["tasks"] == []
        store.put(a_task("t1", node="n1", secrets=("s1",)))
        told = await work(own)
        assert (told.is_complete, ids(told)["tasks"], ids(told)["secrets"]) == (
            False, ["t1"], ["s1"],
        )  # fmt: skip
        task = store.snapshot().tasks["t1"]
        store.put(msgspec.structs.replace(task, desired_state=TaskState.SHUTDOWN))
        told = await work(own)
        assert [task.desired_state for task in told.tasks] == [TaskState.SHUTDOWN]
        await own.update_status(
            [TaskUpdate(task_id="t1", status=TaskStatus(state=TaskState.SHUTDOWN, timestamp=NOW))]
        )
        assert store.snapshot().tasks["t1"].status.state == TaskState.SHUTDOWN
        assert (await work(own)).removed_secrets == ("s1",)
        store.delete(store.snapshot().tasks["t1"])
        assert (await work(own)).removed_tasks == ("t1",)


async def test_keys_are_told_to_nodes_in_encrypted_networks_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With the network, anew when they are renewed, and no more once the node is not in it."""

    def with_keys(*numbers: int) -> Cluster:
        keys = [NetworkKey(number=number, key="k", made_at=NOW) for number in numbers]
        return msgspec.structs.replace(store.snapshot().cluster, network_keys=keys)

    def numbers(told: Assignments) -> list[int] | None:
        return None if told.network_keys is None else [key.number for key in told.network_keys]

    secret, plain = a_network("net1", options={"encrypted": ""}), a_network("net2")
    store = MemoryStore([a_cluster(), a_node("n1"), secret, plain])
    store.put(with_keys(1, 2))
    async with running(store) as dispatcher, source(dispatcher).session(NodeDescription()) as own:
        assert numbers(await work(own)) == []
        store.put(a_task("t2", node="n1", networks={"net2": "10.0.1.4/24"}))
        assert numbers(await work(own)) is None
        store.put(a_task("t1", node="n1", networks={"net1": "10.0.1.3/24"}))
        assert numbers(await work(own)) == [1, 2]
        store.put(with_keys(1, 2, 3))
        told = await work(own)
        assert (numbers(told), told.networks) == ([1, 2, 3], ())
        store.delete(store.snapshot().tasks["t1"])
        assert numbers(await work(own)) == []


async def test_other_nodes_changes_wake_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """A session that has nothing to say says nothing."""
    store = MemoryStore([a_cluster(), a_node("n1"), a_node("n2")])
    async with running(store) as dispatcher, source(dispatcher).session(NodeDescription()) as own:
        await work(own)
        with trio.move_on_after(3) as scope:
            await own.receive()  # its own description was written
            store.put(a_task("t2", node="n2"), a_secret("s2"))
            await own.receive()
        assert scope.cancelled_caught


async def test_a_node_that_is_none_gets_no_session(autojump_clock: trio.testing.MockClock) -> None:
    """Nor keeps it when it is removed."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher:
        with pytest.raises(Forbidden):
            async with source(dispatcher, "stranger").session(NodeDescription()):
                pass
        async with source(dispatcher).session(NodeDescription()) as own:
            await work(own)
            store.delete(store.snapshot().nodes["n1"])
            with pytest.raises(Unavailable, match="removed"):
                while True:
                    await own.receive()


async def test_a_nodes_description_and_certificate_are_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With the session, and again when it describes itself anew."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher:
        local = source(dispatcher)
        async with local.session(NodeDescription(hostname="one")) as own:
            node = store.snapshot().nodes["n1"]
            assert node.description.hostname == "one"
            assert node.certificate_issuer == issuer_id(store.snapshot().cluster.root_ca)
            assert (node.status.addr, node.data_path_addr) == ("192.0.2.9", "192.0.2.9")
            assert "n1" in store.snapshot().sessions
            await own.describe(NodeDescription(hostname="two"))
            assert store.snapshot().nodes["n1"].description.hostname == "two"
        # It has its time left to come back, here or to another manager.
        assert "n1" in store.snapshot().sessions


async def test_a_second_session_of_a_node_ends_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The node's record of being heard stays."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher:
        local = source(dispatcher)
        async with local.session(NodeDescription()) as first:
            await work(first)
            async with local.session(NodeDescription()) as second:
                with pytest.raises(Unavailable, match="another"):
                    while True:
                        await first.receive()
                await work(second)


async def test_a_session_without_beats_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """After three periods; with beats it lives on."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher:
        async with source(dispatcher).session(NodeDescription()) as own:
            await work(own)
            with trio.move_on_after(60):
                while True:
                    await own.receive()
            await own.update_status([])
        async with dispatcher.session(N1, NodeDescription()) as silent:
            began = trio.current_time()
            with pytest.raises(Unavailable, match="not heard"):
                while True:
                    await silent.receive()
            assert 15 <= trio.current_time() - began < 18


async def test_a_session_is_lost_when_the_lease_is(autojump_clock: trio.testing.MockClock) -> None:
    """Without a quorum nobody knows who is heard: the agent is told to look elsewhere."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher, source(dispatcher).session(NodeDescription()) as own:
        await work(own)
        store.is_away = True
        with pytest.raises(Unavailable, match="quorum"):
            while True:
                await own.receive()


async def test_reports_are_stored_although_others_write_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each conflict is tried anew; reports of many nodes share their writes."""
    nodes = [f"n{number}" for number in range(30)]
    store = MemoryStore(
        [a_cluster(), *map(a_node, nodes), *(a_task(f"t-{n}", node=n) for n in nodes)]
    )
    async with running(store) as dispatcher, trio.open_nursery() as nursery:
        before = store.commits
        for node in nodes:
            status = TaskStatus(state=TaskState.RUNNING, timestamp=NOW)
            update = TaskUpdate(task_id=f"t-{node}", status=status)
            nursery.start_soon(dispatcher.write_statuses, node, [update])
        await trio.lowlevel.checkpoint()
        task = store.snapshot().tasks["t-n0"]
        store.put(msgspec.structs.replace(task, restart_count=7))
        with trio.fail_after(5):
            while not all(
                task.status.state == TaskState.RUNNING for task in store.snapshot().tasks.values()
            ):
                await trio.sleep(0.01)
        assert store.snapshot().tasks["t-n0"].restart_count == 7
        assert store.commits - before <= 5


async def test_a_report_that_cannot_be_stored_fails(autojump_clock: trio.testing.MockClock) -> None:
    """The agent keeps it and tries again."""
    store = MemoryStore([a_cluster(), a_node("n1"), a_task("t1", node="n1")])
    async with running(store) as dispatcher:
        store.is_away = True
        update = TaskUpdate(task_id="t1", status=TaskStatus(state=TaskState.RUNNING))
        with pytest.raises(Unavailable):
            await dispatcher.write_statuses("n1", [update])


async def next_of(session: Session, kind: type[SessionMessage]) -> SessionMessage:
    """The next message of a kind."""
    while True:
        message = await session.receive()
        if isinstance(message, kind):
            return message


def line(task: str, node: str = "n1") -> LogMessage:
    """One line of a task's output."""
    return LogMessage(
        task_id=task, node_id=node, service_id="web", timestamp_ns=1, stream="stdout", data=b"x\n"
    )


async def test_logs_come_from_the_nodes_that_have_the_tasks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The end comes when they have sent all; lines of tasks that are not theirs do not come."""
    store = MemoryStore(
        [
            a_cluster(), a_node("n1"), a_node("n2"),
            a_task("t1", node="n1", service="web"), a_task("t2", node="n2", service="other"),
        ]
    )  # fmt: skip
    async with (
        running(store) as dispatcher,
        source(dispatcher).session(NodeDescription()) as one,
        source(dispatcher, "n2").session(NodeDescription()) as two,
    ):
        await work(two)
        async with dispatcher.subscribe_logs(
            LogSelector(service_ids=("web",)), LogOptions()
        ) as messages:
            request = await next_of(one, LogRequest)
            assert isinstance(request, LogRequest)
            await one.publish_logs(request.subscription_id, [line("t1"), line("t2")], is_last=True)
            assert [message.task_id async for message in messages] == ["t1"]
        assert await next_of(one, LogStop) == LogStop(subscription_id=request.subscription_id)
        with pytest.raises(NotFound):
            await one.publish_logs(request.subscription_id, [line("t1")])
        with trio.move_on_after(2) as scope:
            await next_of(two, LogRequest)
        assert scope.cancelled_caught


async def test_logs_that_follow_find_tasks_that_come_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node is asked as soon as it has a task of the service."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with (
        running(store) as dispatcher,
        source(dispatcher).session(NodeDescription()) as own,
        dispatcher.subscribe_logs(
            LogSelector(service_ids=("web",)), LogOptions(follow=True)
        ) as messages,
    ):
        await work(own)
        store.put(a_task("t1", node="n1", service="web"))
        request = await next_of(own, LogRequest)
        assert isinstance(request, LogRequest)
        await own.publish_logs(request.subscription_id, [line("t1")])
        assert (await messages.receive()).data == b"x\n"


async def test_a_node_that_comes_back_is_asked_for_what_it_has_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And a node that comes from elsewhere for its last moments only."""
    store = MemoryStore(
        [
            a_cluster(), a_node("n1"), a_node("n2"),
            a_task("t1", node="n1", service="web"), a_task("t2", node="n2", service="web"),
        ]
    )  # fmt: skip
    async with running(store) as dispatcher:
        selector, options = LogSelector(service_ids=("web",)), LogOptions(follow=True, tail=5)
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(source(dispatcher).session(NodeDescription()))
            await work(own)
            messages = await stack.enter_async_context(dispatcher.subscribe_logs(selector, options))
            request = await next_of(own, LogRequest)
            assert isinstance(request, LogRequest)
            assert request.options == options
            sent = msgspec.structs.replace(line("t1"), timestamp_ns=1_700_000_000_000_000_000)
            await own.publish_logs(request.subscription_id, [sent])
            await messages.receive()
            async with source(dispatcher).session(NodeDescription()) as again:
                request = await next_of(again, LogRequest)
                assert isinstance(request, LogRequest)
                since = datetime.fromtimestamp(1_700_000_000, UTC)
                assert request.options == LogOptions(follow=True, since=since)
            async with source(dispatcher, "n2").session(NodeDescription()) as other:
                request = await next_of(other, LogRequest)
                assert isinstance(request, LogRequest)
                assert request.options.tail is None
                assert request.options.since is not None
                assert request.options.since > since


async def test_logs_end_without_nodes_and_with_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that goes away is not waited for."""
    store = MemoryStore([a_cluster(), a_node("n1"), a_task("t1", node="n1", service="web")])
    async with running(store) as dispatcher:
        selector = LogSelector(service_ids=("web",))
        async with dispatcher.subscribe_logs(selector, LogOptions()) as messages:
            assert [message async for message in messages] == []
        async with source(dispatcher).session(NodeDescription()) as own:
            await work(own)
            subscription = dispatcher.subscribe_logs(selector, LogOptions())
            messages = await subscription.__aenter__()
        assert [message async for message in messages] == []
        await subscription.__aexit__(None, None, None)


async def test_logs_end_when_the_tasks_are_deleted_before_their_node_is_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A service was scaled down: who reads its log then does not wait for ever."""
    store = MemoryStore([a_cluster(), a_node("n1"), a_task("t1", node="n1", service="web")])
    async with (
        running(store) as dispatcher,
        source(dispatcher).session(NodeDescription()) as own,
        trio.open_nursery() as nursery,
    ):
        await work(own)
        nursery.start_soon(next_of, own, LogRequest)
        await trio.testing.wait_all_tasks_blocked()
        selector = LogSelector(service_ids=("web",))
        async with dispatcher.subscribe_logs(selector, LogOptions()) as messages:
            await store.commit(Transaction((Delete(store.snapshot().tasks["t1"]),)))
            with trio.fail_after(5):
                assert [message async for message in messages] == []
        nursery.cancel_scope.cancel()


async def test_a_managers_own_agent_waits_for_a_dispatcher_that_is_about_to_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has its session at once then, not with another try; one that never runs is given up."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    dispatcher = Dispatcher(store)
    held = Held(credentials_of(store.snapshot().cluster, "n1", "worker"))
    local = LocalSource(dispatcher, held, addr="192.0.2.9")
    with pytest.raises(Unavailable, match="not running"):
        async with local.session(NodeDescription()):
            pytest.fail("there is nobody to have a session with")
    assert trio.current_time() == READY_LIMIT_S
    began_at: list[float] = []

    async def open_session() -> None:
        async with local.session(NodeDescription()):
            began_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_session)
        await trio.sleep(1)
        runs_at = trio.current_time()
        await nursery.start(dispatcher.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert began_at == [runs_at]


class MutedStore(MemoryStore):
    """It tells of no change until it is let."""

    def __init__(self, objects: Iterable[Stored]) -> None:
        super().__init__(objects)
        self.tells = trio.Event()

    async def changed_since(self, revision: int) -> Diff:
        """As the store."""
        while True:
            diff = await super().changed_since(revision)
            if self.tells.is_set():
                return diff
            await self.tells.wait()


async def test_a_dispatcher_that_does_not_follow_is_not_waited_for_without_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The node is told to try again (503), and has its session once the dispatcher follows."""
    store = MutedStore([a_cluster(), a_node("n1")])
    async with running(store) as dispatcher:
        began = trio.current_time()
        with pytest.raises(Unavailable, match="behind its store"):
            async with source(dispatcher).session(NodeDescription(hostname="one")):
                pytest.fail("what the session begins with is not seen")
        assert trio.current_time() - began == REACH_LIMIT_S
        store.tells.set()
        async with source(dispatcher).session(NodeDescription(hostname="one")) as own:
            await work(own)
