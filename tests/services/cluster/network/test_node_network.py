"""A node's networking brought to what the managers say: real links, packets and ports."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from services.cluster.dispatcher.values import NetworkView, ServiceView
from services.cluster.model.objects import ClusterNetwork
from services.cluster.network import encryption
from services.cluster.network.plan import network_of
from services.cluster.network.state import NodeNetworkState
from services.errors import EngineError
from services.networks.dns import NamedEndpoint
from services.networks.endpoints import mac_of
from services.networks.kernel.netns import drop_namespace, enter_namespace, in_namespace
from services.networks.model import GATEWAY_BRIDGE
from services.networks.overlay.values import Neighbour
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX
from tests.services.cluster.network.scene import NodeScene, Wire
from tests.services.cluster.network.views import backend, cluster_network, peer, service, view
from tests.services.networks.balancing.test_balancer import LIMIT_S, Answering, asked
from tests.services.networks.nodes import run_in
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]

VIP = "10.99.7.100"


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A wire to another node."""
    wire = Wire(tmp_path)
    try:
        wire.lay()
        yield wire
    finally:
        wire.clear()


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Containers that answer, ended after the test."""
    answering = Answering()
    yield answering
    answering.end()


def state(wire: Wire, *views: NetworkView) -> NodeNetworkState:
    return NodeNetworkState(node_id="n1", data_path_addr=wire.here, networks=views)


async def settle(scene: NodeScene, intended: NodeNetworkState) -> None:
    scene.node.intend(intended)
    with trio.fail_after(60):
        await scene.node.wait_settled()


async def ask(path: Path, address: str, port: int = 80) -> str:
    return await trio.to_thread.run_sync(asked, path, address, port)


async def ask_udp(path: Path, address: str, port: int) -> str:
    """Who answers a datagram, by a socket of its own."""

    def ask() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(LIMIT_S)
            one.sendto(b"?", (address, port))
            return one.recv(100).decode()

    return await trio.to_thread.run_sync(in_namespace, path, ask)


async def shares(path: Path, count: int, address: str, port: int = 80) -> Counter[str]:
    return Counter([(await ask(path, address, port)).split()[0] for _ in range(count)])


def with_services(told: NetworkView, *services: ServiceView) -> NetworkView:
    return replace(told, services=services)


def on_the_other(wire: Wire, network: ClusterNetwork, *known: str) -> None:
    """The other node has a network, with a container at .4, and knows who is here."""
    there = NodeNetworkState(node_id="n2", data_path_addr=wire.there, networks=(view(network),))
    made = network_of(there, there.networks[0])
    wire.other.make(made)
    third = made.subnets[0].subnet.split(".")[2]
    wire.other.start(f"c{third}", made, f"10.99.{third}.4")
    wire.other.tell(
        made,
        *(Neighbour(address=a, mac=mac_of(IPv4Address(a)), node=wire.here) for a in known),
    )


async def test_a_network_its_peers_and_a_service(wire: Wire, answering: Answering) -> None:
    """A container reaches another node, a service by address and by name; then all of it goes."""
    network = cluster_network(third=7)
    on_the_other(wire, network, "10.99.7.2", "10.99.7.3")
    tasks = (backend("web.1.x", "10.99.7.3", "n1"), backend("web.2.y", "10.99.7.4"))
    told = view(
        network,
        service("web", *tasks, vip=f"{VIP}/24"),
        peers=(
            peer("n1", wire.here, "10.99.7.2", "10.99.7.3"),
            peer("n2", wire.there, "10.99.7.4"),
        ),
    )
    async with wire.running() as scene:
        await settle(scene, state(wire, told))
        await scene.node.wait_network(network.id)
        assert scene.node.problems == {}
        assert scene.networks.find(GATEWAY_BRIDGE).link == wire.link
        await scene.start("a", "ov", "10.99.7.2")
        await scene.start("b", "ov", "10.99.7.3")
        answering.begin_at(scene.netns("b"), "b")
        answering.begin(wire.other, "c7")
        assert await trio.to_thread.run_sync(scene.pings, "a", "10.99.7.4")
        assert await shares(scene.netns("a"), 10, VIP) == {"b": 5, "c7": 5}
        own = NamedEndpoint(
            container_id="a", network="ov", names=("a",), addresses=(IPv4Address("10.99.7.2"),)
        )
        scene.names.put(network.id, own)
        assert scene.names.addresses("a", "web") == (IPv4Address(VIP),)
        fewer = with_services(told, service("web", tasks[1], vip=VIP))
        await settle(scene, state(wire, fewer))
        assert scene.names.addresses("a", "tasks.web") == (IPv4Address("10.99.7.4"),)
        assert await shares(scene.netns("a"), 4, VIP) == {"c7": 4}
        await settle(scene, state(wire))
        assert scene.networks.of_cluster() != []  # somebody is in it
        for name in ("a", "b"):
            await scene.sandboxes.release(name)
        await settle(scene, state(wire))
        assert scene.networks.of_cluster() == []
        assert enter_namespace(scene.folder / "overlays" / network.id) is None


async def test_published_ports(wire: Wire, answering: Answering) -> None:
    """They answer at the host's addresses and at 127.0.0.1, from here and outside, evenly."""
    port = free_port()
    ingress = cluster_network(
        "ingress", third=8, ingress=True, balancers={"n1": "10.99.8.9/24", "n2": "10.99.8.10/24"}
    )
    on_the_other(wire, ingress, "10.99.8.9", "10.99.8.3")
    tasks = (backend("web.1.x", "10.99.8.3", "n1"), backend("web.2.y", "10.99.8.4"))
    told = view(
        ingress,
        service("web", *tasks, ports=(("tcp", port, 80), ("udp", port, 80))),
        peers=(
            peer("n1", wire.here, "10.99.8.9", "10.99.8.3"),
            peer("n2", wire.there, "10.99.8.4"),
        ),
    )
    async with wire.running() as scene:
        await settle(scene, state(wire, told))
        assert scene.node.problems == {}
        await scene.start("b", "ingress", "10.99.8.3")
        answering.begin_at(scene.netns("b"), "b")
        answering.begin(wire.other, "c8")
        host = Path("/proc/self/ns/net")
        even = {"b": 4, "c8": 4}
        assert await shares(wire.other.netns, 8, wire.here, port) == even
        assert await shares(host, 8, "127.0.0.1", port) == even
        assert await shares(host, 8, wire.here, port) == even
        assert (await ask(host, "127.0.0.1", port)).split()[1] == "10.99.8.9"
        for _ in range(2):
            answers = [await ask_udp(wire.other.netns, wire.here, port) for _ in range(4)]
            assert sorted(answers) == ["b", "b", "c8", "c8"]
        # A container of this node reaches it by the host's address.
        assert await shares(scene.netns("b"), 8, wire.here, port) == even
        lasting = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        assert lasting.recv(100)
        before = scene.sandboxes.endpoints(INGRESS_SANDBOX)
    with lasting:
        async with wire.running() as scene:  # a kill: ingress goes on, and is adopted
            # Nobody has told anything yet, and the firewall's table was written anew.
            assert await shares(wire.other.netns, 8, wire.here, port) == even
            await settle(scene, state(wire, told))
            assert scene.node.problems == {}
            assert scene.sandboxes.endpoints(INGRESS_SANDBOX) == before
            assert INGRESS_SANDBOX not in await scene.sandboxes.held()
            assert await shares(wire.other.netns, 8, wire.here, port) == even
            lasting.sendall(b"still here")
            await trio.sleep(0.2)
            assert f"127.0.0.1:{port}" in run_in(host, "ss", "-Htn", "state", "established")
            await settle(scene, state(wire, with_services(told)))
            with pytest.raises(OSError):
                await ask(host, "127.0.0.1", port)


async def test_a_port_that_somebody_has(wire: Wire) -> None:
    """It is told of, the others are published, and it is tried again."""
    port, other = free_port(), free_port()
    ingress = cluster_network("ingress", third=8, ingress=True, balancers={"n1": "10.99.8.9/24"})
    told = view(ingress, service("web", ports=(("tcp", port, 80), ("tcp", other, 80))))
    with socket.create_server(("", port)):
        async with wire.running() as scene:
            await settle(scene, state(wire, told))
            assert list(scene.node.problems) == [f"{port}/tcp"]
            assert "already in use" in scene.node.problems[f"{port}/tcp"]
    async with wire.running(is_ending=True) as scene:
        await settle(scene, state(wire, told))
        assert scene.node.problems == {}
    # It has ended, with its containers: nothing leads anywhere any more.
    assert enter_namespace(scene.folder / "netns" / INGRESS_SANDBOX) is None
    assert not (scene.folder / "ingress.json").exists()
    assert enter_namespace(scene.folder / "overlays" / ingress.id) is None
    assert scene.networks.of_cluster() != []


async def test_what_cannot_be_had_keeps_nothing_back(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that cannot encrypt has no encrypted network; the one beside it is there."""
    monkeypatch.setattr(encryption, "why_no_esp", lambda: "this kernel cannot")
    refused = cluster_network("odd", third=9, options={"encrypted": ""})
    good = cluster_network(third=7)
    async with wire.running() as scene:
        await settle(scene, state(wire, view(refused), view(good)))
        with pytest.raises(EngineError, match="network odd is to be encrypted: this kernel cannot"):
            await scene.node.wait_network(refused.id)
        await scene.node.wait_network(good.id)
        assert [network.name for network in scene.networks.of_cluster()] == ["ov"]


async def test_what_others_change_is_mended(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwarding entries that somebody took away are there again after a while; so are links."""
    monkeypatch.setattr("services.cluster.network.node_network.INTERVAL_S", 0.2)
    network = cluster_network(third=7)
    told = view(network, peers=(peer("n2", wire.there, "10.99.7.4"),))
    async with wire.running() as scene:
        await settle(scene, state(wire, told))
        inside = scene.folder / "overlays" / network.id
        link = f"vx-{network.id[:8]}-0"
        run_in(inside, "bridge", "fdb", "del", "02:42:0a:63:07:04", "dev", link, "self")
        with trio.fail_after(60):
            while wire.there not in run_in(inside, "bridge", "fdb", "show", "dev", link):
                await trio.sleep(0.05)
        run_in(inside, "ip", "link", "del", link)
        with trio.fail_after(60):
            while wire.there not in run_in(inside, "bridge", "fdb", "show", ok=False):
                await trio.sleep(0.05)
        await settle(scene, state(wire, told))
        assert scene.node.problems == {}


@pytest.mark.parametrize("loss", ["namespace", "bridge", "link", "way to the bridge"])
async def test_links_that_others_take_away_are_made_again(
    wire: Wire, answering: Answering, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Containers reach each other and the other node again, with the addresses that they had."""
    monkeypatch.setattr("services.cluster.network.node_network.INTERVAL_S", 0.2)
    network = cluster_network(third=7)
    on_the_other(wire, network, "10.99.7.2", "10.99.7.3")
    told = view(
        network,
        service("web", backend("web.1.x", "10.99.7.4"), vip=f"{VIP}/24"),
        peers=(peer("n2", wire.there, "10.99.7.4"),),
    )
    async with wire.running() as scene:
        await settle(scene, state(wire, told))
        for name, address in (("a", "10.99.7.2"), ("b", "10.99.7.3")):
            await scene.start(name, "ov", address)
        answering.begin(wire.other, "c7")
        inside = scene.folder / "overlays" / network.id
        (endpoint,) = [e for e in scene.sandboxes.endpoints("a") if e.network_id == network.id]
        match loss:
            case "namespace":
                drop_namespace(inside)
            case "bridge":
                run_in(inside, "ip", "link", "del", "br0")
            case "link":
                run_in(inside, "ip", "link", "del", endpoint.host_link)
            case _:
                run_in(inside, "ip", "link", "set", endpoint.host_link, "nomaster")
        with trio.fail_after(60):
            for name, address in (("a", "10.99.7.3"), ("b", "10.99.7.4"), ("b", "10.99.7.2")):
                while not await trio.to_thread.run_sync(scene.pings, name, address):
                    await trio.sleep(0.05)
        assert await shares(scene.netns("a"), 2, VIP) == {"c7": 2}
        await settle(scene, state(wire, told))
        assert scene.node.problems == {}


async def test_rules_that_others_flush_are_written_again(
    wire: Wire, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container's namespace and in the ingress namespace, although nothing changes."""
    monkeypatch.setattr("services.cluster.network.node_network.INTERVAL_S", 0.2)
    port = free_port()
    network = cluster_network(third=7)
    ingress = cluster_network("in", third=8, ingress=True, balancers={"n1": "10.99.8.9/24"})
    web = service("web", backend("web.1.x", "10.99.7.2", "n1"), vip=f"{VIP}/24")
    led = service("web", backend("web.1.x", "10.99.8.2", "n1"), ports=(("tcp", port, 80),))
    async with wire.running() as scene:
        await settle(scene, state(wire, view(network, web), view(ingress, led)))
        await scene.start("a", "ov", "10.99.7.2")
        await scene.start("w", "in", "10.99.8.2")
        for name in ("a", "w"):
            answering.begin_at(scene.netns(name), name)

        async def answers(path: Path, address: str, at: int) -> bool:
            with suppress(OSError):
                return bool(await trio.to_thread.run_sync(asked, path, address, at, 1.0))
            return False

        here = Path("/proc/self/ns/net")
        for namespace, asked_of, address, at in (
            (scene.netns("a"), scene.netns("a"), VIP, 80),
            (scene.netns(INGRESS_SANDBOX), here, "127.0.0.1", port),
        ):
            assert await ask(asked_of, address, at)
            run_in(namespace, "nft", "flush", "ruleset")
            with trio.fail_after(60):
                while not await answers(asked_of, address, at):
                    await trio.sleep(0.05)


async def test_an_audit_finds_what_others_change(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Namespaces, links, entries and rules, by their names; a round mends all of them."""
    monkeypatch.setattr("services.cluster.network.node_network.INTERVAL_S", 600.0)
    network, other = cluster_network(third=7), cluster_network("other", third=9)
    ingress = cluster_network("in", third=8, ingress=True, balancers={"n1": "10.99.8.9/24"})
    told = (
        view(
            network, service("web", vip=f"{VIP}/24"), peers=(peer("n2", wire.there, "10.99.7.4"),)
        ),
        view(other),
        view(ingress),
    )
    async with wire.running() as scene:
        await settle(scene, state(wire, *told))
        for name, address in (("a", "10.99.7.2"), ("b", "10.99.7.3")):
            await scene.start(name, "ov", address)
        await scene.node.mend()
        assert await scene.node.differences() == []
        inside = scene.folder / "overlays" / network.id
        (endpoint,) = [e for e in scene.sandboxes.endpoints("a") if e.network_id == network.id]
        run_in(inside, "ip", "link", "del", endpoint.host_link)
        run_in(inside, "bridge", "fdb", "del", "02:42:0a:63:07:04", "dev",
               f"vx-{network.id[:8]}-0", "self")  # fmt: skip
        run_in(scene.netns("b"), "nft", "flush", "ruleset")
        run_in(scene.netns(INGRESS_SANDBOX), "nft", "flush", "ruleset")
        drop_namespace(scene.folder / "overlays" / other.id)
        found = await scene.node.differences()
        assert {one.what for one in found} == {"a", "b", network.id, other.id, INGRESS_SANDBOX}
        with trio.fail_after(60):
            while await scene.node.differences():  # the kernel reaps a namespace some time later
                await scene.node.mend()


async def test_a_helper_that_dies_takes_nothing_along(wire: Wire, answering: Answering) -> None:
    """What it wrote holds; the part begins anew, and changes are made again."""
    network = cluster_network(third=7)
    here = backend("web.1.x", "10.99.7.2", "n1")
    async with wire.running() as scene:
        await settle(scene, state(wire, view(network, service("web", vip=VIP))))
        await scene.start("a", "ov", "10.99.7.2")
        answering.begin_at(scene.netns("a"), "a")
        with pytest.raises(ConnectionRefusedError):
            await ask(scene.netns("a"), VIP)
        (helper,) = helpers()
        os.kill(helper, signal.SIGKILL)
        with trio.fail_after(60):
            while helper in helpers() or not helpers():
                await trio.sleep(0.02)
        await settle(scene, state(wire, view(network, service("web", here, vip=VIP))))
        assert scene.node.problems == {}
        assert await shares(scene.netns("a"), 2, VIP) == {"a": 2}


async def test_who_is_still_sent_connections_is_seen(wire: Wire, answering: Answering) -> None:
    """A task that is to end waits for the last one that comes from elsewhere, and not for ever."""
    network = cluster_network(third=7)
    async with wire.running() as scene:
        await settle(scene, state(wire, view(network)))
        for name, address in (("a", "10.99.7.2"), ("b", "10.99.7.3")):
            await scene.start(name, "ov", address)
        answering.begin_at(scene.netns("a"), "a")
        ended: list[float] = []

        async def wait(limit_s: float) -> None:
            await scene.node.wait_unused("a", quiet_s=2.0, limit_s=limit_s)
            ended.append(trio.current_time())

        async def come(source: str, address: str, until: Callable[[], bool]) -> float:
            """Connections; when the last one came."""
            with trio.fail_after(60):
                while not until():
                    await ask(scene.netns(source), address)
                    await trio.sleep(0.1)
            return trio.current_time()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 60.0)
            over_at = trio.current_time() + 3.0
            came_at = await come("b", "10.99.7.2", lambda: trio.current_time() > over_at)
            assert not ended
        assert ended.pop() > came_at
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 1.0)
            await come("b", "10.99.7.2", lambda: bool(ended))
        ended.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 600.0)
            await come("a", "127.0.0.1", lambda: bool(ended))
        with pytest.raises(EngineError):
            await scene.node.wait_unused("gone", quiet_s=1.0, limit_s=5.0)


def helpers() -> list[int]:
    """The balancer's helpers of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    found: list[int] = []
    pids: list[str] = []
    for thread in children.parent.parent.iterdir():
        with suppress(OSError):  # threads end, and children do
            pids += (thread / "children").read_text().split()
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0inside\0"):
                found.append(int(pid))
    return found


async def test_all_is_cleared_away(wire: Wire) -> None:
    """When the node has left: networks, ingress, ports; also by one that does not run."""
    network = cluster_network(third=7)
    ingress = cluster_network("ingress", third=8, ingress=True, balancers={"n1": "10.99.8.9/24"})
    told = view(ingress, service("web", ports=(("tcp", free_port(), 80),)))
    async with wire.running() as scene:
        await settle(scene, state(wire, view(network), told))
        assert len(scene.networks.of_cluster()) == 2
        await scene.node.clear()
        assert scene.networks.of_cluster() == []
        assert enter_namespace(scene.folder / "netns" / INGRESS_SANDBOX) is None
