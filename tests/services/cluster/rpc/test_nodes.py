"""Nodes that join a manager and work with it, over real TLS connections."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import trio

from services.cluster.ca.authority import Authority
from services.cluster.ca.credentials import CredentialFiles
from services.cluster.ca.issuing import begun_rotation, issuer_id, join_tokens, new_root_ca
from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.ca.rotation import RotationRule
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
from services.cluster.model.objects import ManagerMember, NodeDescription, TaskStatus
from services.cluster.model.snapshot import Diff
from services.cluster.model.swarm_spec import CaConfig, DispatcherConfig
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.cluster.rpc.joining import RemoteIssuer, become_member, join_cluster
from services.cluster.rpc.logs import ClusterLogs
from services.cluster.rpc.membership import MemberRequest
from services.cluster.rpc.remote import RemoteSource
from services.cluster.rpc.remotes import Remotes
from services.errors import Forbidden, InvalidParameter, NotFound, Unavailable
from tests.support.cluster_objects import NOW, a_cluster, a_network, a_node, a_secret, a_task
from tests.support.managers import Held, Manager, a_manager, credentials_of
from tests.support.memory_store import MemoryStore

LIMIT_S = 30.0  # keys are made and checked meanwhile, which takes long on a busy machine


async def work(session: Session) -> Assignments:
    """The next message that is about work."""
    with trio.fail_after(LIMIT_S):
        while True:
            message = await session.receive()
            if isinstance(message, Assignments):
                return message


async def eventually(is_so: object) -> None:
    """Wait until a condition holds."""
    assert callable(is_so)
    with trio.fail_after(LIMIT_S):
        while not is_so():
            await trio.sleep(0.02)


def has_session(manager: Manager, node_id: str) -> bool:
    """Whether a node has a session with a manager."""
    try:
        manager.dispatcher.session_of(node_id)
    except Unavailable:
        return False
    return True


def worker_source(manager: Manager, node_id: str = "n1") -> RemoteSource:
    """A worker's, whose node is made if need be."""
    store = manager.store
    if node_id not in store.snapshot().nodes:
        store.put(a_node(node_id))
    credentials = credentials_of(store.snapshot().cluster, node_id, "worker")
    return RemoteSource(Held(credentials), manager.remotes)


async def test_a_node_joins_by_its_token_and_gets_the_tokens_role(tmp_path: Path) -> None:
    """Nodes of both roles; each stands in the store when it has its certificate."""
    store = MemoryStore([a_cluster()])
    async with a_manager(store, tmp_path) as manager:
        tokens = join_tokens(store.snapshot().cluster.root_ca)
        for role, token in (("worker", tokens.worker), ("manager", tokens.manager)):
            given = await join_cluster(token, manager.remotes, availability="drain")
            assert given.identity.role == role
            node = store.snapshot().nodes[given.identity.node_id]
            assert (node.role, node.spec.role, node.spec.availability) == (role, role, "drain")
            assert node.data_path_addr == "127.0.0.1"


async def test_a_wrong_token_admits_nobody(tmp_path: Path) -> None:
    """Neither one with a wrong secret, nor one that pins another root, nor rubbish."""
    store = MemoryStore([a_cluster()])
    async with a_manager(store, tmp_path) as manager:
        token = join_tokens(store.snapshot().cluster.root_ca).worker
        wrong_secret = token.rpartition("-")[0] + "-" + "0" * 25
        with pytest.raises(Forbidden, match="A valid join token is necessary"):
            await join_cluster(wrong_secret, manager.remotes)
        other = join_tokens(new_root_ca(Authority.new(utc_now()))).worker
        with pytest.raises(Forbidden, match="does not match fingerprint"):
            await join_cluster(other, manager.remotes)
        with pytest.raises(InvalidParameter, match="invalid join token"):
            await join_cluster("rubbish", manager.remotes)
        with pytest.raises(Unavailable):
            await join_cluster(token, Remotes(["127.0.0.1:1"]))
        assert set(store.snapshot().nodes) == {"m1"}


async def test_who_joins_is_patient_with_a_busy_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that accepts and says nothing is asked again after the others, once."""
    monkeypatch.setattr("services.cluster.rpc.client.CONNECT_LIMIT_S", 0.3)
    asked = 0

    async def say_nothing(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with pytest.raises(Unavailable, match="has not answered"):
            await join_cluster(
                join_tokens(a_cluster().root_ca).worker, Remotes([address, "127.0.0.1:1"])
            )
        nursery.cancel_scope.cancel()
    assert asked == 2


async def test_a_session_over_the_network_is_as_one_in_the_process(tmp_path: Path) -> None:
    """Facts, all work, changes, reports, a new description."""
    secret = a_secret("s1", "words")
    store = MemoryStore([a_cluster(), secret, a_task("t1", node="n1", secrets=("s1",))])
    async with a_manager(store, tmp_path) as manager:
        source = worker_source(manager)
        async with source.session(NodeDescription(hostname="one")) as session:
            facts = await session.receive()
            assert isinstance(facts, SessionFacts)
            assert facts.node.description.hostname == "one"
            assert facts.node.certificate_issuer != ""
            first = await work(session)
            assert [task.id for task in first.tasks] == ["t1"]
            assert first.secrets[0].spec.data == secret.spec.data
            status = TaskStatus(state=TaskState.RUNNING, timestamp=NOW)
            await session.update_status([TaskUpdate(task_id="t1", status=status)])
            assert store.snapshot().tasks["t1"].status.running_at == NOW
            store.put(a_task("t2", node="n1"))
            assert [task.id for task in (await work(session)).tasks] == ["t2"]
            await session.describe(NodeDescription(hostname="two"))
            assert store.snapshot().nodes["n1"].description.hostname == "two"
            assert "n1" in store.snapshot().sessions
        await eventually(lambda: not has_session(manager, "n1"))


async def test_a_manager_that_is_behind_refuses_nobody(tmp_path: Path) -> None:
    """It asks the others first; and while it cannot, it says that it does not know.

    Who is refused takes itself for removed.
    """
    store = MemoryStore([a_cluster()])
    async with a_manager(store, tmp_path) as manager:
        held = Held(credentials_of(store.snapshot().cluster, "n1", "worker"))
        source = RemoteSource(held, manager.remotes)
        store.is_away = True
        with pytest.raises(Unavailable):
            async with source.session(NodeDescription()):
                pass
        store.is_away = False
        store.lagging = [a_node("n1")]
        async with source.session(NodeDescription()) as session:
            await work(session)


async def test_a_node_says_where_its_networks_traffic_goes(tmp_path: Path) -> None:
    """An address, else the one that the connection shows; it may be another one next time."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with a_manager(store, tmp_path) as manager:
        held = Held(credentials_of(store.snapshot().cluster, "n1", "worker"))
        for said, expected in (("198.51.100.7", "198.51.100.7"), ("", "127.0.0.1")):
            source = RemoteSource(held, manager.remotes, data_path_addr=said)
            async with source.session(NodeDescription()):
                assert store.snapshot().nodes["n1"].data_path_addr == expected
        with pytest.raises(InvalidParameter, match="data path address"):
            async with RemoteSource(held, manager.remotes, data_path_addr="x").session(
                NodeDescription()
            ):
                pass


async def test_networks_come_whole_and_their_changes_after(tmp_path: Path) -> None:
    """What the agent gets is the whole network each time."""
    places = {"net": "10.0.1.3/24"}
    store = MemoryStore([a_cluster(), a_network("net"), a_task("t1", node="n1", networks=places)])
    async with (
        a_manager(store, tmp_path) as manager,
        worker_source(manager).session(NodeDescription()) as session,
    ):
        (view,) = (await work(session)).networks
        assert [peer.addresses for peer in view.peers] == [("10.0.1.3",)]
        store.put(a_node("n2"), a_task("t2", node="n2", networks={"net": "10.0.1.4/24"}))
        (view,) = (await work(session)).networks
        assert {peer.node_id: peer.addresses for peer in view.peers} == {
            "n1": ("10.0.1.3",), "n2": ("10.0.1.4",),
        }  # fmt: skip


async def test_a_container_by_hand_gets_a_task_of_its_node(tmp_path: Path) -> None:
    """In an attachable network; no other, and none that is not there."""
    back = a_network("net1")
    spec = msgspec.structs.replace(back.spec, attachable=True)
    back = msgspec.structs.replace(back, spec=spec)
    store = MemoryStore([a_cluster(), a_node("n1"), back, a_network("net2")])
    async with (
        a_manager(store, tmp_path) as manager,
        worker_source(manager).session(NodeDescription()) as session,
    ):
        wish = AttachmentWish(
            network="name-of-net1", container_id="c1", names=("web",), addresses=("10.0.1.9",)
        )
        task_id = await session.attach(wish)
        task = store.snapshot().tasks[task_id]
        assert (task.node_id, task.service_id, task.desired_state) == ("n1", "", TaskState.RUNNING)
        assert task.spec.network_attachment_spec is not None
        assert task.spec.network_attachment_spec.container_id == "c1"
        (place,) = task.spec.networks
        assert (place.target, place.aliases, place.addresses) == ("net1", ["web"], ["10.0.1.9"])
        with pytest.raises(Forbidden, match="name-of-net2 not manually attachable"):
            await session.attach(msgspec.structs.replace(wish, network="net2"))
        with pytest.raises(NotFound, match="network none not found"):
            await session.attach(msgspec.structs.replace(wish, network="none"))


async def test_logs_come_over_the_network(tmp_path: Path) -> None:
    """Bytes as they were written, to the end."""
    store = MemoryStore([a_cluster(), a_task("t1", node="n1", service="web")])
    async with (
        a_manager(store, tmp_path) as manager,
        worker_source(manager).session(NodeDescription()) as session,
    ):
        await work(session)
        async with manager.dispatcher.subscribe_logs(
            LogSelector(service_ids=("web",)), LogOptions()
        ) as messages:
            with trio.fail_after(LIMIT_S):
                while not isinstance(request := await session.receive(), LogRequest):
                    pass
            sent = LogMessage(
                task_id="t1", node_id="n1", service_id="web", timestamp_ns=5, stream="stderr",
                data=b"\xff\n", details={"a": "b"},
            )  # fmt: skip
            await session.publish_logs(request.subscription_id, [sent], is_last=True)
            assert [message async for message in messages] == [sent]


async def test_logs_come_from_nodes_of_other_managers(tmp_path: Path) -> None:
    """A reader at one manager gets what nodes at all of them print, in each task's order."""
    store = MemoryStore(
        [
            a_cluster(), a_task("t1", node="n1", service="web"),
            a_task("t2", node="n2", service="web"),
        ]
    )  # fmt: skip

    def lines(task: str, node: str) -> list[LogMessage]:
        return [
            LogMessage(task_id=task, node_id=node, service_id="web", timestamp_ns=number,
                       stream="stdout", data=b"x")
            for number in range(300)
        ]  # fmt: skip

    async def print_it(session: Session, task: str, node: str) -> None:
        while not isinstance(request := await session.receive(), LogRequest):
            pass
        await session.publish_logs(request.subscription_id, lines(task, node), is_last=True)

    async with (
        a_manager(store, tmp_path / "1") as one,
        a_manager(store, tmp_path / "2", "m2") as two,
        worker_source(one, "n1").session(NodeDescription()) as first,
        worker_source(two, "n2").session(NodeDescription()) as second,
        trio.open_nursery() as nursery,
    ):
        for manager, id in ((one, "m1"), (two, "m2")):
            node = store.snapshot().nodes[id]
            store.put(msgspec.structs.replace(node, manager=ManagerMember(addr=manager.address)))
        logs = ClusterLogs(one.dispatcher, one.keeper, store.snapshot)
        nursery.start_soon(print_it, first, "t1", "n1")
        nursery.start_soon(print_it, second, "t2", "n2")
        with trio.fail_after(LIMIT_S):
            async with logs.subscribe_logs(
                LogSelector(service_ids=("web",)), LogOptions()
            ) as messages:
                got = [message async for message in messages]
            # One who leaves in the middle leaves nothing behind, though the channel is full.
            async with logs.subscribe_logs(
                LogSelector(service_ids=("web",)), LogOptions(follow=True)
            ) as messages:
                nursery.start_soon(print_it, first, "t1", "n1")
                await messages.receive()
                await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        for task, id in (("t1", "n1"), ("t2", "n2")):
            assert [message for message in got if message.task_id == task] == lines(task, id)


async def test_a_node_goes_to_another_manager_when_one_is_gone(tmp_path: Path) -> None:
    """And learns of all managers by the facts."""
    store = MemoryStore([a_cluster()])
    async with a_manager(store, tmp_path) as manager:
        store.put(
            msgspec.structs.replace(
                store.snapshot().nodes["m1"], manager=ManagerMember(addr=manager.address)
            )
        )
        credentials = credentials_of(store.snapshot().cluster, "m1", "manager")
        remotes = Remotes(["127.0.0.1:1"])
        source = RemoteSource(Held(credentials), remotes)
        with pytest.raises(Unavailable):
            async with source.session(NodeDescription()):
                pass
        remotes.update(["127.0.0.1:1", manager.address])
        for _ in range(3):
            async with source.session(NodeDescription()) as session:
                facts = await session.receive()
                assert isinstance(facts, SessionFacts)
                assert facts.managers == (manager.address,)


async def test_a_session_ends_when_the_manager_does(tmp_path: Path) -> None:
    """Every call says that it is lost."""
    store = MemoryStore([a_cluster()])
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def manage(task_status: trio.TaskStatus[Manager]) -> None:
            async with a_manager(store, tmp_path) as manager:
                task_status.started(manager)
                await stop.wait()

        manager = await nursery.start(manage)
        async with worker_source(manager).session(NodeDescription()) as session:
            await work(session)
            stop.set()
            with pytest.raises(Unavailable), trio.fail_after(LIMIT_S):
                while True:
                    await session.receive()
            with pytest.raises(Unavailable):
                await session.update_status([])


async def test_heartbeats_keep_a_session_and_its_loss_is_noticed(tmp_path: Path) -> None:
    """By the node: when the manager cannot keep its lease, the session ends."""
    cluster = a_cluster()
    spec = msgspec.structs.replace(
        cluster.spec, dispatcher=DispatcherConfig(heartbeat_period=1_000_000_000)
    )
    store = MemoryStore([msgspec.structs.replace(cluster, spec=spec)])
    async with (
        a_manager(store, tmp_path) as manager,
        worker_source(manager).session(NodeDescription()) as session,
    ):
        await work(session)
        with trio.move_on_after(4) as scope:  # more than three periods
            await work(session)
        assert scope.cancelled_caught
        store.is_away = True
        with pytest.raises(Unavailable), trio.fail_after(LIMIT_S):
            while True:
                await session.receive()


async def test_a_manager_joins_the_store_and_a_worker_does_not(tmp_path: Path) -> None:
    """Membership holds the data key."""
    store = MemoryStore([a_cluster(), a_node("m2", role="manager"), a_node("n1")])
    request = MemberRequest(peer_url="https://127.0.0.1:2380", addr="127.0.0.1:2377")
    async with a_manager(store, tmp_path) as manager:
        cluster = store.snapshot().cluster
        membership = await become_member(
            credentials_of(cluster, "m2", "manager"), manager.remotes, request
        )
        assert membership.members[0].name == "m2"
        assert membership.data_key not in repr(membership)
        with pytest.raises(Forbidden, match="managers only"):
            await become_member(credentials_of(cluster, "n1", "worker"), manager.remotes, request)


async def obey(session: Session, keeper: CredentialKeeper) -> None:
    """As a node does with the facts, until the session is lost."""
    with suppress(Unavailable):
        while True:
            facts = await session.receive()
            if isinstance(facts, SessionFacts):
                await keeper.trust(facts.root_certificates)
                if facts.must_renew:
                    keeper.ask_to_renew()


async def test_a_promoted_node_renews_with_its_new_role(tmp_path: Path) -> None:
    """It hears that it must, and gets a manager's certificate; its files have it."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    async with a_manager(store, tmp_path / "m") as manager, trio.open_nursery() as nursery:
        files = CredentialFiles(tmp_path / "n")
        keeper = worker_keeper(manager, files)
        nursery.start_soon(keeper.run)
        source = RemoteSource(keeper, manager.remotes)
        async with source.session(NodeDescription()) as session:
            await work(session)
            node = store.snapshot().nodes["n1"]
            promoted = msgspec.structs.replace(node.spec, role="manager")
            store.put(msgspec.structs.replace(node, spec=promoted))
            nursery.start_soon(obey, session, keeper)
            await eventually(lambda: keeper.credentials.identity.role == "manager")
        async with source.session(NodeDescription()) as session:
            await work(session)
            assert store.snapshot().nodes["n1"].role == "manager"
        saved = files.load()
        assert saved is not None
        assert saved.identity.role == "manager"
        nursery.cancel_scope.cancel()


def worker_keeper(
    manager: Manager, files: CredentialFiles, node_id: str = "n1"
) -> CredentialKeeper:
    """A worker's credentials, renewed over the network."""
    credentials = credentials_of(manager.store.snapshot().cluster, node_id, "worker")
    keeper: CredentialKeeper
    issuer = RemoteIssuer(lambda: keeper.credentials, manager.remotes)
    keeper = CredentialKeeper(credentials, files, issuer=issuer)
    return keeper


async def test_the_root_is_replaced_while_nodes_work(tmp_path: Path) -> None:
    """Manager and worker renew by themselves; then the leader's rule makes the new root the only
    one, the old token is void, and both still talk."""
    store = MemoryStore([a_cluster(), a_node("n1")])
    before = store.snapshot().cluster.root_ca
    async with a_manager(store, tmp_path / "m") as manager, trio.open_nursery() as nursery:
        keeper = worker_keeper(manager, CredentialFiles(tmp_path / "n"))
        nursery.start_soon(keeper.run)
        source = RemoteSource(keeper, manager.remotes)

        async def agent() -> None:
            while True:
                with suppress(Unavailable):
                    async with source.session(NodeDescription()) as session:
                        await obey(session, keeper)
                await trio.sleep(0.05)

        nursery.start_soon(agent)
        await eventually(lambda: "n1" in store.snapshot().sessions)
        cluster = store.snapshot().cluster
        during = begun_rotation(before, CaConfig(force_rotate=1), utc_now())
        store.put(msgspec.structs.replace(cluster, root_ca=during))
        manager.keeper.ask_to_renew()  # its own agent would hear of it
        rule, wanted, issuer = RotationRule(), during.next_certificate, issuer_id(during)
        await eventually(lambda: keeper.credentials.issuer == issuer)
        await eventually(lambda: manager.keeper.credentials.issuer == issuer)
        own = store.snapshot().nodes["m1"]
        assert rule.decide(store.snapshot(), Diff(), utc_now()).transactions == ()
        await eventually(lambda: store.snapshot().nodes["n1"].certificate_issuer == issuer)
        store.put(msgspec.structs.replace(own, certificate_issuer=issuer))
        decision = rule.decide(store.snapshot(), Diff(), utc_now())
        await store.commit(*decision.transactions)
        assert store.snapshot().cluster.root_ca.certificate == wanted
        await eventually(lambda: keeper.credentials.roots == wanted)
        await manager.keeper.trust(wanted)
        await eventually(lambda: "n1" in store.snapshot().sessions)
        with pytest.raises(Forbidden, match="does not match fingerprint"):
            await join_cluster(join_tokens(before).worker, manager.remotes)
        token = join_tokens(store.snapshot().cluster.root_ca).worker
        assert (await join_cluster(token, manager.remotes)).roots == wanted
        nursery.cancel_scope.cancel()


async def test_a_stranger_who_speaks_no_tls_does_no_harm(tmp_path: Path) -> None:
    """Nor one who connects and says nothing."""
    store = MemoryStore([a_cluster()])
    async with a_manager(store, tmp_path) as manager:
        host, _, port = manager.address.partition(":")
        silent = await trio.open_tcp_stream(host, int(port))
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n" + secrets.token_bytes(200))
            with trio.fail_after(LIMIT_S):
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        async with worker_source(manager).session(NodeDescription()) as session:
            await work(session)
        await silent.aclose()
