"""The overlay driver on the real kernel: two nodes, packets between their containers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.errors import EngineError
from services.networks.kernel.netns import enter_namespace
from services.networks.overlay.values import Neighbour
from services.networks.overlay.vxlan_messages import links
from tests.services.networks.nodes import (
    OverlayNode,
    network_at,
    overlay_network,
    run_in,
    two_nodes,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[OverlayNode, OverlayNode]]:
    """Two nodes with a wire between them."""
    with two_nodes(tmp_path) as nodes:
        yield nodes


def test_containers_on_two_nodes_reach_each_other(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """Once told of each other, in packets as large as the overlay takes; before and after, not."""
    first, second = nodes
    network = overlay_network()
    here, there = first.make(network), second.make(network)
    first.start("a", here, "10.99.7.2")
    first.start("b", here, "10.99.7.3")
    second.start("c", there, "10.99.7.4")
    assert first.pings("a", "10.99.7.3")
    assert first.pings("a", "10.99.7.1")
    assert not first.pings("a", "10.99.7.4", wait_s=1)
    assert second.tell(there, first.neighbour("a"), first.neighbour("b")) == 4
    assert first.tell(here, second.neighbour("c")) == 2
    assert first.pings("a", "10.99.7.4", size=1400)
    assert second.pings("c", "10.99.7.3")
    assert first.tell(here, second.neighbour("c")) == 0
    assert first.tell(here) == 2
    assert not first.pings("a", "10.99.7.4", wait_s=1)


def test_networks_are_apart(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """The same addresses in two networks are two containers; nobody reaches into the other."""
    first, second = nodes
    one, other = overlay_network("one"), overlay_network("other", third=8)
    for node in nodes:
        node.make(one)
        node.make(other)
    first.start("a", one, "10.99.7.2")
    second.start("c", other, "10.99.8.4")
    first.tell(one, second.neighbour("c"))
    second.tell(other, first.neighbour("a"))
    assert not first.pings("a", "10.99.8.4", wait_s=1)


def test_a_thousand_neighbours(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """They are there after one call of well under a second, and gone after another one."""
    first, _ = nodes
    network = first.make(overlay_network())
    many = [
        Neighbour(
            address=f"10.99.7.{n % 250 + 2}" if n < 250 else f"10.99.{8 + n // 250}.{n % 250 + 2}",
            mac=f"02:42:0a:63:{n >> 8:02x}:{n & 255:02x}",
            node=f"10.98.{n >> 8}.{n & 255}",
        )
        for n in range(1000)
    ]
    wide = [replace(s, subnet="10.99.0.0/16", gateway="10.99.0.1") for s in network.subnets]
    network = first.make(replace(network, subnets=wide))
    began_at = time.process_time()  # other processes' turns do not count
    assert first.tell(network, *many) == 2000
    took_s = time.process_time() - began_at
    assert took_s < 1.0
    assert first.tell(network, *many) == 0
    moved = [replace_node(many[0], "10.98.9.9"), *many[1:]]
    assert first.tell(network, *moved) == 1
    assert first.tell(network) == 2000


def replace_node(one: Neighbour, node: str) -> Neighbour:
    return Neighbour(address=one.address, mac=one.mac, node=node)


def test_what_is_there_is_kept(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """Making a network again changes nothing; another underlay makes its VXLAN link anew."""
    first, second = nodes
    network = overlay_network()
    here, there = first.make(network), second.make(network)
    first.start("a", here, "10.99.7.2")
    second.start("c", there, "10.99.7.4")
    first.tell(here, second.neighbour("c"))
    second.tell(there, first.neighbour("a"))
    before = links_of(first, here.id)
    first.make(network)
    assert links_of(first, here.id) == before
    assert first.pings("a", "10.99.7.4")
    run_in(first.netns, "ip", "addr", "add", "10.98.0.3/24", "dev", "wire")
    moved = network_at(network, "10.98.0.3")
    first.address = "10.98.0.3"
    first.make(moved)
    assert links_of(first, here.id) != before
    assert first.tell(here, second.neighbour("c")) == 2
    second.tell(there, first.neighbour("a"))
    assert first.pings("a", "10.99.7.4")


def test_a_removed_network_leaves_nothing(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """Its VXLAN id is free at once, and its namespace gone. Removing it twice is fine."""
    first, _ = nodes
    network = first.make(overlay_network(vxlan_id=4103))
    first.unmake(network)
    first.unmake(network)
    assert enter_namespace(first.overlays / network.id) is None
    with pytest.raises(EngineError, match="is gone"):
        first.tell(network)
    first.make(overlay_network(vxlan_id=4103))


def test_an_id_that_is_taken_is_told_of(nodes: tuple[OverlayNode, OverlayNode]) -> None:
    """By a sentence with the id and the port."""
    first, _ = nodes
    first.make(overlay_network(vxlan_id=4103))
    with pytest.raises(EngineError, match="has the VXLAN id 4103 on port 4789"):
        first.make(overlay_network("second", vxlan_id=4103))


def links_of(node: OverlayNode, network_id: str) -> object:
    inside = enter_namespace(node.overlays / network_id)
    assert inside is not None
    with inside:
        return links(inside)
