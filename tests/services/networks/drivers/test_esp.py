"""Encrypted overlay networks on the real kernel, between two nodes: what is on the wire.

Without ESP in the kernel that is nothing at all; with it, nothing but ESP.
"""

from __future__ import annotations

import re
import secrets
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.networks.drivers.esp import clear_encryption, sync_encryption, why_no_esp
from services.networks.model import Network
from services.networks.overlay.encryption import Encryption, NodeKey, plan_encryption
from services.networks.overlay.xfrm_messages import Policy, State, open_xfrm, policies, states
from tests.services.networks.nodes import OverlayNode, overlay_network, two_nodes

pytestmark = pytest.mark.engine

PORT = 4790
KEYS = tuple(NodeKey(number=number, secret=secrets.token_bytes(32)) for number in range(1, 5))

needs_esp = pytest.mark.skipif(bool(why_no_esp()), reason=why_no_esp())


@dataclass(frozen=True, slots=True)
class Two:
    """Two nodes with a container each in an encrypted network; each knows of the other's."""

    here: OverlayNode
    there: OverlayNode
    network: Network

    def encrypt(self, keys: tuple[NodeKey, ...]) -> list[int]:
        """Both have these keys for each other; how many entries that changed."""
        return [self.give(self.here, keys), self.give(self.there, keys)]

    def give(self, node: OverlayNode, keys: tuple[NodeKey, ...]) -> int:
        other = self.there if node is self.here else self.here
        wanted: Encryption = plan_encryption(node.address, PORT, [other.address], keys)
        return node.do(lambda: sync_encryption(wanted))

    def pings(self, wait_s: int = 10) -> bool:
        return self.here.pings("c", "10.99.7.3", wait_s=wait_s)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    network = overlay_network(encrypted=True)
    with two_nodes(tmp_path) as (here, there):
        for node, address in ((here, "10.99.7.2"), (there, "10.99.7.3")):
            node.start("c", node.make(network), address)
        here.tell(network, there.neighbour("c"))
        there.tell(network, here.neighbour("c"))
        yield Two(here, there, network)


@contextmanager
def tapped(node: OverlayNode) -> Iterator[list[tuple[int, int]]]:
    """Protocol and UDP port (0 for others) of each IPv4 packet on the node's wire, when it ends."""

    def listen() -> socket.socket:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        tap.bind(("wire", 0x0800))
        tap.setblocking(False)
        return tap

    seen: list[tuple[int, int]] = []
    with node.do(listen) as tap:
        yield seen
        while True:
            try:
                packet = tap.recv(65536)
            except BlockingIOError:
                return
            protocol = packet[9]
            port = struct.unpack_from("!H", packet, 22)[0] if protocol == socket.IPPROTO_UDP else 0
            seen.append((protocol, port))


def kernel_policies(node: OverlayNode) -> list[Policy]:
    def ask() -> list[Policy]:
        with open_xfrm() as netlink:
            return policies(netlink, PORT)

    return node.do(ask)


def kernel_states(node: OverlayNode) -> list[State]:
    def ask() -> list[State]:
        with open_xfrm() as netlink:
            return states(netlink)

    return node.do(ask)


def dropped(node: OverlayNode) -> int:
    """How many packets the node's kernel has dropped, by policy."""
    counts = dict(
        line.split() for line in node.inside("host", "cat", "/proc/net/xfrm_stat").splitlines()
    )
    return sum(
        int(counts[name]) for name in ("XfrmInPolBlock", "XfrmInNoPols", "XfrmInTmplMismatch")
    )


def send_plain(node: OverlayNode, to: str, port: int, vxlan_id: int) -> None:
    """A VXLAN packet by hand, as somebody who has no key would send it."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            head = struct.pack("!II", 0x08000000, vxlan_id << 8)
            sender.sendto(head + b"\xff" * 12 + b"\x08\x00" + bytes(46), (to, port))

    node.do(send)


def test_nothing_leaves_in_plain_text_before_there_are_keys(two: Two) -> None:
    """Neither for the network's port nor for that of others."""
    with tapped(two.there) as seen:
        assert not two.pings(wait_s=1)
    assert seen == []


def test_what_comes_in_plain_text_is_dropped(tmp_path: Path) -> None:
    """It is counted as such by the kernel, and gets to no socket."""
    network = overlay_network(encrypted=True)
    with two_nodes(tmp_path) as (here, there):
        here.make(network)
        before = dropped(here)
        with tapped(here) as seen:
            send_plain(there, here.address, PORT, network.subnets[0].vxlan_id)
            assert there.pings("host", here.address)  # later packets are here, so is that one
        assert (socket.IPPROTO_UDP, PORT) in seen
        assert dropped(here) == before + 1


def test_the_guard_goes_with_the_last_encrypted_network(tmp_path: Path) -> None:
    """It is as iproute2 reads it, too."""
    one, two = (
        overlay_network("one", encrypted=True),
        overlay_network("two", third=8, encrypted=True),
    )
    with two_nodes(tmp_path) as (node, _):
        for network in (one, two, overlay_network("plain", third=9)):
            node.make(network)
        shown = node.inside("host", "ip", "xfrm", "policy")
        for direction in ("in", "out"):
            assert f"dir {direction} action block priority 32" in shown
        # Without /etc/protocols it has no name for UDP.
        guard = rf"src 0\.0\.0\.0/0 dst 0\.0\.0\.0/0 proto (udp|17) dport {PORT}"
        assert len(re.findall(guard, shown)) == 2
        node.unmake(node.make(one))
        assert len(kernel_policies(node)) == 2
        node.unmake(node.make(two))
        assert kernel_policies(node) == []


@needs_esp
def test_everything_between_two_nodes_is_esp(two: Two) -> None:
    """Large packets too. A node without the keys is not understood, and nothing is plain then."""
    assert two.encrypt(KEYS[:2]) == [5, 5]
    with tapped(two.there) as seen:
        assert two.pings()
        assert two.here.pings("c", "10.99.7.3", size=1382)  # 1410 bytes, as large as they may be
        assert two.here.pings("c", "10.99.7.3", size=4000)
    assert {protocol for protocol, _ in seen} == {socket.IPPROTO_ESP}
    assert two.encrypt(KEYS[:2]) == [0, 0]
    with tapped(two.there) as seen:
        two.give(two.there, KEYS[2:])
        assert not two.pings(wait_s=1)
    assert {protocol for protocol, _ in seen} == {socket.IPPROTO_ESP}
    before = dropped(two.here)
    send_plain(two.there, two.here.address, PORT, two.network.subnets[0].vxlan_id)
    assert dropped(two.here) == before  # it was not even sent


@needs_esp
def test_keys_are_renewed_without_a_lost_packet(two: Two) -> None:
    """Also while one node knows of it and the other does not yet."""
    two.encrypt(KEYS[:2])
    command = [
        "nsenter",
        f"--net={two.here.folder / 'c'}",
        "busybox",
        "ping",
        "-A",
        "-W1",
        "10.99.7.3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pinging:
        assert pinging.stdout is not None
        while "bytes from" not in pinging.stdout.readline():
            pass
        for keys in (KEYS[:3], KEYS[1:4]):
            two.give(two.here, keys)
            assert two.pings()
            two.give(two.there, keys)
            assert two.pings()
        pinging.send_signal(signal.SIGINT)
        said = pinging.communicate(timeout=60)[0]
    assert " 0% packet loss" in said
    assert len(kernel_states(two.here)) == 3 + 1  # all keys to receive with, one to send with


@needs_esp
def test_who_is_no_peer_any_more_is_forgotten(two: Two) -> None:
    """Its states and policies are gone; the guard is not."""
    two.encrypt(KEYS[:3])
    assert two.pings()
    assert two.here.do(lambda: clear_encryption(PORT)) > 0
    assert kernel_states(two.here) == []
    assert len(kernel_policies(two.here)) == 2
    with tapped(two.there) as seen:
        assert not two.pings(wait_s=1)
    assert seen == []
