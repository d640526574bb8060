"""A thief has a worker's certificate and key, and tries everything, over real TLS connections.

The worker n1 has a task with a secret; n2 has another one with another, and neither may see or do
anything in the other's name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from betterproto2 import Message

from protos.generated.cluster import (
    AttachRequest,
    Done,
    HeartbeatRequest,
    IssueRequest,
    JoinRequest,
    LogsRequest,
    SessionRequest,
    StatusRequest,
    SubscribeLogsRequest,
)
from services.cluster.ca.authority import Authority, Subject, key_pem, new_key, new_request
from services.cluster.ca.credentials import Credentials
from services.cluster.ca.identity import identity_of, leaf_of
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import (
    Assignments,
    AttachmentWish,
    LogMessage,
    LogOptions,
    LogRequest,
    LogSelector,
    SessionFacts,
    TaskUpdate,
)
from services.cluster.model.objects import Cluster, NodeDescription, TaskStatus
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.cluster.rpc import methods
from services.cluster.rpc.client import ManagerCalls, manager_address, open_manager
from services.cluster.rpc.codec import encode_json
from services.cluster.rpc.membership import MemberRequest
from services.cluster.rpc.methods import WHO_MAY, Who
from services.cluster.rpc.remote import RemoteSource
from services.cluster.rpc.tls import client_context, joining_context
from services.errors import EngineError, Forbidden, Unauthorized, Unavailable
from services.grpc.method import Method
from tests.support.cluster_objects import (
    a_cluster,
    a_config,
    a_network,
    a_node,
    a_secret,
    a_task,
)
from tests.support.managers import Held, Manager, a_manager, credentials_of
from tests.support.memory_store import MemoryStore

THEIRS = "the-other-nodes-words"
A_DAY = timedelta(days=1)
WISH = AttachmentWish(container_id="c" * 64, network="net2")


@dataclass
class Theft:
    """A manager, what was stolen, and the honest worker beside."""

    manager: Manager
    stolen: Credentials
    honest: Credentials

    @property
    def cluster(self) -> Cluster:
        """The cluster's object, keys and all."""
        return self.manager.store.snapshot().cluster

    @asynccontextmanager
    async def calls(self, credentials: Credentials | None = None) -> AsyncIterator[ManagerCalls]:
        """A connection with the stolen certificate, or another one."""
        context = client_context(credentials or self.stolen)
        async with open_manager(manager_address(self.manager.address), context) as calls:
            yield calls

    @asynccontextmanager
    async def session(self, credentials: Credentials | None = None) -> AsyncIterator[Session]:
        """A session with the stolen certificate, or another one."""
        source = RemoteSource(Held(credentials or self.stolen), self.manager.remotes)
        async with source.session(NodeDescription()) as session:
            yield session


@asynccontextmanager
async def theft(folder: Path) -> AsyncIterator[Theft]:
    """The scene."""
    store = MemoryStore(
        [
            a_cluster(), a_node("n1"), a_node("n2"),
            a_secret("s1", "own"), a_secret("s2", THEIRS), a_config("c2"), a_network("net2"),
            a_task("t1", node="n1", service="web", secrets=("s1",)),
            a_task("t2", node="n2", service="db", secrets=("s2",), configs=("c2",),
                   networks={"net2": "10.0.1.3/24"}),
        ]
    )  # fmt: skip
    async with a_manager(store, folder) as manager:
        cluster = store.snapshot().cluster
        yield Theft(
            manager,
            credentials_of(cluster, "n1", "worker"),
            credentials_of(cluster, "n2", "worker"),
        )


async def all_that_comes(session: Session, *wanted: type) -> list[Any]:
    """What a session tells until it has told something of each kind, and a while longer."""
    messages: list[Any] = []
    with trio.fail_after(60):
        while not all(any(isinstance(one, kind) for one in messages) for kind in wanted):
            messages.append(await session.receive())
    with trio.move_on_after(0.5):
        while True:
            messages.append(await session.receive())
    return messages


async def test_a_session_tells_nothing_of_other_nodes(tmp_path: Path) -> None:
    """Not their tasks, secrets, configs or networks, nor the authority's keys, nor the tokens."""
    async with theft(tmp_path) as scene, scene.session() as session:
        store = scene.manager.store
        first = await all_that_comes(session, Assignments)
        store.put(a_task("t3", node="n2", secrets=("s2",)))
        told = msgspec.json.encode(first + await all_that_comes(session)).decode()
        assert '"t1"' in told
        root = scene.cluster.root_ca
        hidden = [
            '"t2"', '"t3"', '"s2"', '"c2"', '"net2"', store.snapshot().secrets["s2"].spec.data,
            root.join_tokens.worker, root.join_tokens.manager, "PRIVATE",
        ]  # fmt: skip
        assert [word for word in hidden if word in told] == []


MANAGERS_ONLY: dict[Method[Any, Any], Message] = {
    methods.JOIN: JoinRequest(
        json=encode_json(MemberRequest(peer_url="https://192.0.2.1:2380", addr="192.0.2.1:2377"))
    ),
    methods.SUBSCRIBE_LOGS: SubscribeLogsRequest(
        selector_json=encode_json(LogSelector(service_ids=("db",))),
        options_json=encode_json(LogOptions()),
    ),
}


@pytest.mark.parametrize(
    "method", [m for m, who in WHO_MAY.items() if who is Who.MANAGER], ids=lambda m: m.name
)
async def test_what_managers_ask_of_each_other_is_refused(
    method: Method[Any, Any], tmp_path: Path
) -> None:
    """A seat in the store, with its data key, above all."""
    async with theft(tmp_path) as scene, scene.calls() as calls:
        with pytest.raises(Forbidden, match="managers only"):
            async with calls.stream(method, MANAGERS_ONLY[method]) as stream:
                await stream.receive()


@pytest.mark.parametrize(
    "method", [m for m, who in WHO_MAY.items() if who is not Who.ANYONE], ids=lambda m: m.name
)
async def test_without_a_certificate_nothing_but_the_way_in_is_open(
    method: Method[Any, Any], tmp_path: Path
) -> None:
    """Each RPC that needs one."""
    async with theft(tmp_path) as scene:
        context = joining_context(scene.stolen.roots)
        address = manager_address(scene.manager.address)
        async with open_manager(address, context) as calls:
            with pytest.raises(Unauthorized):
                async with calls.stream(method, method.request()) as stream:
                    await stream.receive()


async def test_another_nodes_session_is_of_no_use(tmp_path: Path) -> None:
    """Even to who knows its id: no beat, no report and no output in its name."""
    async with theft(tmp_path) as scene, scene.session(scene.honest) as honest:
        facts = await honest.receive()
        assert isinstance(facts, SessionFacts)
        async with scene.session(), scene.calls() as calls:
            failed = TaskUpdate(task_id="t2", status=TaskStatus(state=TaskState.FAILED))
            theirs = facts.session_id
            tries: list[tuple[Method[Any, Any], Message]] = [
                (methods.HEARTBEAT, HeartbeatRequest(session_id=theirs)),
                (
                    methods.UPDATE_STATUS,
                    StatusRequest(session_id=theirs, updates_json=encode_json([failed])),
                ),
                (methods.PUBLISH_LOGS, LogsRequest(session_id=theirs, subscription_id="x")),
                (
                    methods.ATTACH,
                    AttachRequest(session_id=theirs, wish_json=encode_json(WISH)),
                ),
            ]
            for method, request in tries:
                with pytest.raises(Unavailable, match="another session"):
                    await calls.call(method, request)
        assert scene.manager.store.snapshot().tasks["t2"].status.state == TaskState.ASSIGNED


async def test_a_network_that_is_not_attachable_stays_shut(tmp_path: Path) -> None:
    """A container of the thief's own gets no place in it, and nothing is told of it."""
    async with theft(tmp_path) as scene, scene.session() as session:
        with pytest.raises(Forbidden, match="not manually attachable"):
            await session.attach(WISH)
        told = msgspec.json.encode(await all_that_comes(session)).decode()
        assert '"net2"' not in told


async def test_reports_of_other_nodes_tasks_change_nothing(tmp_path: Path) -> None:
    """They are passed over."""
    async with theft(tmp_path) as scene, scene.session() as session:
        await session.update_status(
            [TaskUpdate(task_id="t2", status=TaskStatus(state=TaskState.FAILED))]
        )
        assert scene.manager.store.snapshot().tasks["t2"].status.state == TaskState.ASSIGNED


async def test_output_of_other_nodes_tasks_is_not_believed(tmp_path: Path) -> None:
    """Nor does a worker see what others print: it is asked for its own tasks only."""
    async with theft(tmp_path) as scene, scene.session() as session:
        dispatcher = scene.manager.dispatcher
        forged = LogMessage(
            task_id="t2", node_id="n2", service_id="db", timestamp_ns=1, stream="stdout",
            data=b"forged\n",
        )  # fmt: skip
        selector = LogSelector(service_ids=("web",))
        async with dispatcher.subscribe_logs(selector, LogOptions()) as lines:
            messages = await all_that_comes(session, LogRequest)
            (request,) = [one for one in messages if isinstance(one, LogRequest)]
            await session.publish_logs(request.subscription_id, [forged], is_last=True)
            assert [line async for line in lines] == []
        other = LogSelector(service_ids=("db",))
        async with dispatcher.subscribe_logs(other, LogOptions(follow=True)):
            messages = await all_that_comes(session)
            assert [one for one in messages if isinstance(one, LogRequest)] == []


async def test_renewal_gives_no_more_than_there_was(tmp_path: Path) -> None:
    """The same node and role, whatever the request says; no manager's addresses."""
    async with theft(tmp_path) as scene, scene.calls() as calls:
        request = IssueRequest(
            signing_request=new_request(new_key()), availability="active", addresses=["192.0.2.1"]
        )
        reply = await calls.call(methods.ISSUE_CERTIFICATE, request)
        leaf = leaf_of(reply.chain)
        assert identity_of(leaf) == scene.stolen.identity
        assert "192.0.2.1" not in str(leaf.extensions)
        guess = IssueRequest(signing_request=new_request(new_key()), join_secret="0" * 25)
        with pytest.raises(Forbidden):
            await calls.call(methods.ISSUE_CERTIFICATE, guess)


async def test_a_certificate_of_the_thiefs_own_making_is_refused(tmp_path: Path) -> None:
    """Signed by a root of the same name, or by the worker's own key."""
    async with theft(tmp_path) as scene:
        key, now = new_key(), utc_now()
        subject = Subject(node_id="m1", role="manager", cluster_id=scene.cluster.id)
        chain = Authority.new(now).issue(new_request(key), subject, now, A_DAY)
        by_worker = Authority(certificate=scene.stolen.chain, key=scene.stolen.key)
        chained = by_worker.issue(new_request(key), subject, now, A_DAY) + scene.stolen.chain
        for forged in (chain, chained):
            credentials = Credentials(chain=forged, key=key_pem(key), roots=scene.stolen.roots)
            with pytest.raises(Unavailable):
                async with scene.calls(credentials) as calls:
                    await calls.call(methods.HEARTBEAT, HeartbeatRequest(session_id="x"))


async def test_a_stranger_cannot_fill_the_managers_memory(tmp_path: Path) -> None:
    """A request that is too large is refused by its length, not read."""
    async with theft(tmp_path) as scene:
        context = joining_context(scene.stolen.roots)
        address = manager_address(scene.manager.address)
        async with open_manager(address, context) as calls:
            huge = IssueRequest(join_secret="0" * 25, signing_request="x" * 2_000_000)
            with pytest.raises(EngineError) as refused:
                await calls.call(methods.ISSUE_CERTIFICATE, huge)
            assert "join token" not in str(refused.value)  # as it would be had it been read
        async with scene.session() as session:
            await session.receive()


async def test_nothing_else_is_answered(tmp_path: Path) -> None:
    """There is no control over the swarm port, nor a way to the store."""
    async with theft(tmp_path) as scene, scene.calls() as calls:
        for service, name in (("cluster.Control", "ListSecrets"), ("etcdserverpb.KV", "Range")):
            other = Method(service=service, name=name, request=SessionRequest, reply=Done)
            # grpclib's server says UNIMPLEMENTED in a form that its own client does not read.
            with pytest.raises(EngineError, match="Missing content-type"):
                await calls.call(other, SessionRequest())


async def test_once_the_node_is_removed_the_certificate_opens_nothing(tmp_path: Path) -> None:
    """No session, no renewal."""
    async with theft(tmp_path) as scene:
        store = scene.manager.store
        async with scene.session() as session:
            await all_that_comes(session, Assignments)
            store.delete(store.snapshot().nodes["n1"])
            with pytest.raises(Unavailable), trio.fail_after(60):
                while True:
                    await session.receive()
        with pytest.raises(Forbidden, match="removed"):
            async with scene.session():
                pass
        async with scene.calls() as calls:
            with pytest.raises(Forbidden, match="removed"):
                await calls.call(
                    methods.ISSUE_CERTIFICATE, IssueRequest(signing_request=new_request(new_key()))
                )
