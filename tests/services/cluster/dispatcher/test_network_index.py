"""What nodes see of networks."""

from __future__ import annotations

import math

import msgspec

from services.cluster.dispatcher.network_index import NetworkIndex
from services.cluster.dispatcher.values import NetworkView
from services.cluster.model.objects import ClusterNetwork, LeavingNetwork, NodeState, Stored
from services.cluster.model.task_state import TaskState
from tests.support.cluster_objects import a_cluster, a_network, a_node, a_service, a_task
from tests.support.memory_store import MemoryStore


def world() -> list[Stored]:
    """A service with an address in a network, its two tasks on two nodes."""
    return [
        a_cluster(),
        a_node("n1", addr="192.0.2.1"),
        a_node("n2", addr="192.0.2.2"),
        a_network("net", balancers={"n1": "10.0.1.250/24"}),
        a_service("web", vips={"net": "10.0.1.2/24"}, networks=("net",)),
        a_task("t1", node="n1", service="web", state=TaskState.RUNNING,
               networks={"net": "10.0.1.3/24"}),
        a_task("t2", node="n2", service="web", state=TaskState.STARTING,
               networks={"net": "10.0.1.4/24"}),
    ]  # fmt: skip


def seen(index: NetworkIndex, id: str = "net") -> NetworkView:
    """The view, which is there."""
    view = index.view(id)
    assert view is not None
    return view


def backends(index: NetworkIndex) -> list[str]:
    """Addresses that connections to the first service may go to."""
    return [backend.address for backend in seen(index).services[0].backends]


def test_a_view_has_all_addresses_and_connections_go_to_what_runs() -> None:
    """A task that starts has an address on its node, and gets no connections yet."""
    view = seen(NetworkIndex(MemoryStore(world()).snapshot()))
    assert {peer.data_path_addr: peer.addresses for peer in view.peers} == {
        "192.0.2.1": ("10.0.1.250", "10.0.1.3"),
        "192.0.2.2": ("10.0.1.4",),
    }
    (service,) = view.services
    assert (service.name, service.vip) == ("name-of-web", "10.0.1.2")
    assert service.aliases == ("also-web",)
    assert [backend.name for backend in service.backends] == ["name-of-web.1.t1"]


def leaving(network: ClusterNetwork) -> LeavingNetwork:
    """It was removed under tasks that are to end: nodes have it as it was."""
    return LeavingNetwork(
        id=network.id, created_at=network.created_at, updated_at=network.updated_at, network=network
    )


async def test_an_index_that_followed_sees_what_a_fresh_one_sees() -> None:
    """After each of a series of changes; and it says which networks those were in."""
    store = MemoryStore(world())
    index = NetworkIndex(store.snapshot())
    other = a_network("other")
    changes: list[tuple[list[Stored], list[Stored], set[str]]] = [
        ([a_task("t2", node="n2", service="web", state=TaskState.RUNNING,
                 networks={"net": "10.0.1.4/24"})], [], {"net"}),
        ([a_task("t1", node="n1", service="web", state=TaskState.RUNNING,
                 desired=TaskState.SHUTDOWN, networks={"net": "10.0.1.3/24"})], [], {"net"}),
        ([other], [], {"other"}),
        ([a_task("t3", node="n1", networks={"other": "10.0.1.9/24"})], [], {"other"}),
        ([a_node("n2", state=NodeState.DOWN, addr="192.0.2.2")], [], {"net"}),
        ([a_service("web", vips={"other": "10.0.1.7/24"})], [], {"net", "other"}),
        ([], [a_task("t3")], {"other"}),
        ([], [a_service("web")], {"other"}),
        ([], [a_node("n1")], {"net"}),
        ([leaving(other)], [other], {"other"}),
        ([], [leaving(other)], {"other"}),
    ]  # fmt: skip
    for put, deleted, networks in changes:
        before = store.snapshot().revision
        store.put(*put)
        store.delete(*deleted)
        index.advance(store.snapshot(), await store.changed_since(before))
        assert index.refresh(math.inf) == networks
        assert index.due_at() == math.inf
        fresh = NetworkIndex(store.snapshot())
        for id in ("net", "other"):
            assert index.view(id) == fresh.view(id)


async def test_a_report_that_changes_no_view_makes_none_stale() -> None:
    """The view stays the same object while a task prepares."""
    store = MemoryStore(world())
    index = NetworkIndex(store.snapshot())
    before = index.view("net")
    preparing = a_task(
        "t2", node="n2", service="web", state=TaskState.READY, networks={"net": "10.0.1.4/24"}
    )
    revision = store.snapshot().revision
    store.put(preparing)
    index.advance(store.snapshot(), await store.changed_since(revision))
    assert index.refresh(math.inf) == frozenset()
    assert index.view("net") is before


async def test_a_large_view_is_not_made_anew_at_each_change() -> None:
    """But when it is due, with all that has changed by then."""
    tasks = [
        a_task(f"t{n}", node="n1", service="web", state=TaskState.RUNNING,
               networks={"net": f"10.1.{n // 250}.{n % 250}/16"})
        for n in range(1000)
    ]  # fmt: skip
    store = MemoryStore([a_cluster(), a_node("n1"), a_network("net"), a_service("web"), *tasks])
    index = NetworkIndex(store.snapshot())
    index.view("net")

    async def lose(*names: str) -> None:
        revision = store.snapshot().revision
        store.delete(*(store.snapshot().tasks[name] for name in names))
        index.advance(store.snapshot(), await store.changed_since(revision))

    await lose("t1")
    assert index.refresh(10.0) == {"net"}
    await lose("t2")
    await lose("t3")
    assert index.refresh(10.0) == frozenset()
    due = index.due_at()
    assert 10.01 < due < 10.1
    assert index.refresh(due) == {"net"}
    assert len(seen(index).peers[0].addresses) == 997


def test_no_connections_go_to_nodes_that_are_down_or_tasks_that_shall_stop() -> None:
    """Whatever was last heard of the tasks."""
    store = MemoryStore(world())
    assert backends(NetworkIndex(store.snapshot())) == ["10.0.1.3"]
    store.put(a_node("n1", state=NodeState.DOWN))
    assert backends(NetworkIndex(store.snapshot())) == []
    store.put(a_node("n1"))
    task = store.snapshot().tasks["t1"]
    store.put(msgspec.structs.replace(task, desired_state=TaskState.SHUTDOWN))
    assert backends(NetworkIndex(store.snapshot())) == []


def test_the_ingress_network_has_ports_and_no_names() -> None:
    """Every node gets it."""
    store = MemoryStore(
        [
            a_cluster(),
            a_node("n1"),
            a_network("in", ingress=True),
            a_service("web", vips={"in": "10.0.0.2/24"}, port=8080),
            a_task("t1", node="n1", service="web", state=TaskState.RUNNING,
                   networks={"in": "10.0.0.3/24"}),
        ]
    )  # fmt: skip
    index = NetworkIndex(store.snapshot())
    assert index.ingress == "in"
    (service,) = seen(index, "in").services
    assert [port.published_port for port in service.ports] == [8080]
    assert service.name == ""
    assert [(one.name, one.address) for one in service.backends] == [("", "10.0.0.3")]
