"""Services' addresses and published ports shared out by the kernel: real connections."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.errors import EngineError
from services.networks.balancing.balancer import Balancer
from services.networks.balancing.rules import INGRESS, SERVICES, changes, lost_targets, whole_table
from services.networks.kernel.netns import in_namespace
from tests.services.networks.nodes import OverlayNode, overlay_network, run_in, two_nodes

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces"),
]

VIP = "10.99.7.100"
LIMIT_S = 20.0


class Answering:
    """Containers that answer with their name, over TCP and UDP, on port 80."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.kept: list[socket.socket] = []

    def begin(self, node: OverlayNode, name: str) -> None:
        """Have a container answer."""
        self.begin_at(node.folder / name, name)

    def begin_at(self, path: Path, name: str) -> None:
        """Have whoever is in a namespace answer."""
        tcp = in_namespace(path, lambda: socket.create_server(("", 80), backlog=128))
        udp = in_namespace(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("", 80))
        self.sockets += [tcp, udp]
        threading.Thread(target=self._accept, args=(tcp, name.encode()), daemon=True).start()
        threading.Thread(target=self._echo, args=(udp, name.encode()), daemon=True).start()

    def _accept(self, server: socket.socket, name: bytes) -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            connection.sendall(name + b" " + peer[0].encode() + b"\n")
            self.kept.append(connection)

    @staticmethod
    def _echo(server: socket.socket, name: bytes) -> None:
        while True:
            try:
                _, peer = server.recvfrom(100)
            except OSError:
                return
            if peer is None:  # it was shut down
                return
            server.sendto(name, peer)

    def end(self) -> None:
        """Close all."""
        for each in self.sockets:
            # A thread that waits in accept() is not woken by close().
            with_shutdown(each)
            each.close()
        for each in self.kept:
            each.close()


def with_shutdown(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[OverlayNode, OverlayNode]]:
    """Containers a and b on the first node, c on the second, in one network; c and b answer."""
    with two_nodes(tmp_path) as (first, second):
        network = overlay_network()
        here, there = first.make(network), second.make(network)
        first.start("a", here, "10.99.7.2")
        first.start("b", here, "10.99.7.3")
        second.start("c", there, "10.99.7.4")
        first.tell(here, second.neighbour("c"))
        second.tell(there, first.neighbour("a"), first.neighbour("b"))
        answering = Answering()
        answering.begin(first, "b")
        answering.begin(second, "c")
        yield first, second
        answering.end()


@asynccontextmanager
async def balancing() -> AsyncIterator[Balancer]:
    balancer = Balancer()
    async with trio.open_nursery() as nursery:
        await nursery.start(balancer.run)
        yield balancer
        nursery.cancel_scope.cancel()


def asked(path: Path, address: str, port: int = 80, limit_s: float = LIMIT_S) -> str:
    """Who answers a connection from a namespace, and whom it saw."""

    def ask() -> str:
        with socket.create_connection((address, port), timeout=limit_s) as connection:
            return connection.recv(100).decode().strip()

    return in_namespace(path, ask)


def shares(path: Path, count: int, address: str = VIP, port: int = 80) -> Counter[str]:
    return Counter(asked(path, address, port).split()[0] for _ in range(count))


async def in_thread(call: Callable[[], object]) -> object:
    return await trio.to_thread.run_sync(call)


async def test_connections_are_shared_out(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """Evenly, over nodes, with the client's own address; one connection lives through changes."""
    first, _ = nodes
    path = first.folder / "a"
    async with balancing() as balancer:
        assert await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3", "10.99.7.4")})
        assert not await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3", "10.99.7.4")})
        assert await in_thread(lambda: shares(path, 20)) == {"b": 10, "c": 10}
        assert await in_thread(lambda: asked(path, VIP).split()[1]) == "10.99.7.2"
        lasting = in_namespace(path, lambda: socket.create_connection((VIP, 80), timeout=LIMIT_S))
        with lasting:
            lasting.recv(100)
            await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3",)})
            assert await in_thread(lambda: shares(path, 6)) == {"b": 6}
            await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.4",)})
            assert await in_thread(lambda: shares(path, 6)) == {"c": 6}
            lasting.sendall(b"still here")
            await trio.sleep(0.2)
            peer = in_namespace(path, lambda: run_in(path, "ss", "-Htn", "state", "established"))
            assert VIP in peer


async def test_nobody_there_is_said_at_once(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """A service without tasks refuses; with its first task it answers; gone, it is no address."""
    first, _ = nodes
    path = first.folder / "a"
    async with balancing() as balancer:
        await balancer.lead(SERVICES, "a", path, {VIP: ()})
        with pytest.raises(ConnectionRefusedError):  # and not a TimeoutError
            await in_thread(lambda: asked(path, VIP))
        await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3",)})
        assert await in_thread(lambda: shares(path, 2)) == {"b": 2}
        await balancer.lead(SERVICES, "a", path, {VIP: ()})
        with pytest.raises(ConnectionRefusedError):
            await in_thread(lambda: asked(path, VIP))
        await balancer.lead(SERVICES, "a", path, {})
        assert VIP not in run_in(path, "nft", "list", "ruleset")


async def test_a_client_that_is_its_own_task(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """It is led to itself as to others."""
    first, _ = nodes
    path = first.folder / "b"
    async with balancing() as balancer:
        await balancer.lead(SERVICES, "b", path, {VIP: ("10.99.7.3", "10.99.7.4")})
        assert await in_thread(lambda: shares(path, 8)) == {"b": 4, "c": 4}


async def test_a_udp_flow_leaves_a_task_that_goes(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """One socket, sending on and on, is answered by who is left."""
    first, _ = nodes
    path = first.folder / "a"
    flow = in_namespace(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def answer() -> str:
        flow.sendto(b"?", (VIP, 80))
        return flow.recvfrom(100)[0].decode()

    with flow:
        flow.settimeout(LIMIT_S)
        async with balancing() as balancer:
            await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3",)})
            assert await in_thread(answer) == "b"
            await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3", "10.99.7.4")})
            assert await in_thread(answer) == "b"
            await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.4",)})
            assert await in_thread(answer) == "c"


async def test_what_somebody_took_away_is_written_again(
    nodes: tuple[OverlayNode, OverlayNode],
) -> None:
    """A change of a table that is not there any more writes the whole; so does a new helper."""
    first, _ = nodes
    path = first.folder / "a"
    async with balancing() as balancer:
        await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3",), "10.99.7.101": ()})
        run_in(path, "nft", "flush", "ruleset")
        await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.4",), "10.99.7.101": ()})
        assert await in_thread(lambda: shares(path, 2)) == {"c": 2}
    async with balancing() as balancer:
        await balancer.lead(SERVICES, "a", path, {VIP: ("10.99.7.3",)})
        assert await in_thread(lambda: shares(path, 2)) == {"b": 2}


async def test_a_namespace_that_is_gone(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """It is told of, and the next one is served."""
    first, _ = nodes
    async with balancing() as balancer:
        with pytest.raises(EngineError, match="namespace gone"):
            await balancer.lead(SERVICES, "x", first.folder / "x", {VIP: ()})
        assert await balancer.lead(SERVICES, "a", first.folder / "a", {VIP: ("10.99.7.3",)})
        assert await in_thread(lambda: shares(first.folder / "a", 1)) == {"b": 1}


async def test_published_ports_are_shared_out(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """What comes to a port of a namespace goes on, under that one's address, to another port."""
    first, _ = nodes
    path = first.folder / "a"
    run_in(path, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run_in(
        first.netns, "ip", "link", "add", "way", "type", "veth", "peer", "name", "in", "netns",
        str(path),
    )  # fmt: skip
    run_in(first.netns, "ip", "addr", "add", "10.97.0.1/24", "dev", "way")
    run_in(first.netns, "ip", "link", "set", "way", "up")
    run_in(path, "ip", "addr", "add", "10.97.0.2/24", "dev", "in")
    run_in(path, "ip", "link", "set", "in", "up")
    targets = ("10.99.7.3 . 80", "10.99.7.4 . 80")
    async with balancing() as balancer:
        await balancer.lead(INGRESS, "ingress", path, {"tcp . 8080": targets, "udp . 53": ()})
        assert await in_thread(lambda: shares(first.netns, 10, "10.97.0.2", 8080)) == {
            "b": 5,
            "c": 5,
        }
        saw = await in_thread(lambda: asked(first.netns, "10.97.0.2", 8080).split()[1])
        assert saw == "10.99.7.2"
        await balancer.lead(INGRESS, "ingress", path, {})
        with pytest.raises(ConnectionRefusedError):
            await in_thread(lambda: asked(first.netns, "10.97.0.2", 8080))


def test_changes_say_only_what_differs() -> None:
    """Nothing for nothing; one chain for one service; whose flows are lost."""
    before = {"10.0.0.1": ("10.0.0.8",), "10.0.0.2": ("10.0.0.9",)}
    assert changes(SERVICES, before, dict(before), client="c") == ""
    text = changes(SERVICES, before, {**before, "10.0.0.1": ("10.0.0.7",)}, client="c")
    assert "10_0_0_2" not in text
    assert text.count("\n") == 2
    assert whole_table(SERVICES, before, client="c").count("add chain") == 2
    after = {"10.0.0.1": ("10.0.0.8", "10.0.0.7")}
    assert lost_targets(before, after) == {"10.0.0.2"}
