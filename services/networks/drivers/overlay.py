"""Networks of the overlay driver: a namespace with a bridge and a VXLAN link for each subnet.

Containers' links stand in the bridge, what is for others goes through the VXLAN link to their node.
Nothing is learned and nothing is flooded to other nodes: who is where is told (`sync_neighbours`),
so that it is right or missing, but never stale. The namespace keeps the network's addresses apart
from the host's. It is held by a mount, so it outlives the daemon.

The functions block for some milliseconds and are called in a thread.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Interface, ip_address
from pathlib import Path

from services.errors import EngineError
from services.networks.endpoints import mac_bytes
from services.networks.kernel.netns import (
    drop_namespace,
    enter_namespace,
    held_namespaces,
    make_namespace,
    namespace_of,
)
from services.networks.kernel.rtnetlink import NetlinkError, open_netlink
from services.networks.model import Network, Subnet, Underlay
from services.networks.overlay.values import (
    Neighbour,
    bridge_name,
    carried_subnets,
    namespace_of_network,
    overlay_mtu,
    vxlan_name,
    wants_encryption,
)
from services.networks.overlay.vxlan_messages import Link, VxlanBatch, forwarding, links, neighbours

LOOPBACK = 1


def make_overlay(network: Network, directory: Path) -> None:
    """Have a network's namespace with its links. What is there already is kept where it is right.

    A VXLAN link that was made for another underlay is made anew; containers stay where they are.

    Raises:
        EngineError: the network has no underlay, or another network of the host has its VXLAN id.
        NetlinkError: the kernel refused.
    """
    underlay = network.underlay
    if underlay is None:
        raise EngineError(f"network {network.name} is not known to lead to other nodes")
    if wants_encryption(network.options):
        # Imported with the first network that is encrypted: cryptography takes a while.
        from services.networks.drivers.esp import have_guard

        have_guard(underlay.port)  # before there is anything that could send
    path = namespace_of_network(directory, network.id)
    with _entered_or_made(path) as inside:
        present = links(inside)
        for number, subnet in enumerate(carried_subnets(network)):
            _make_bridge(inside, present, network, number, subnet)
            _make_vxlan(inside, present, network, number, underlay)


def unmake_overlay(network: Network, directory: Path) -> None:
    """Take a network's namespace away, with all that is in it; gone already is fine.

    The VXLAN ids can be used again when this returns.
    """
    _unmake(directory, network.id)


def drop_strays(directory: Path, known: Collection[str]) -> list[str]:
    """Take away what is held for networks that are not known; their ids."""
    strays = [name for name in held_namespaces(directory) if name not in known]
    for name in strays:
        _unmake(directory, name)
    return strays


def _unmake(directory: Path, network_id: str) -> None:
    path = namespace_of_network(directory, network_id)
    ports: set[int] = set()
    inside = enter_namespace(path)
    if inside is not None:
        with inside:
            batch = VxlanBatch()
            for link in links(inside).values():
                if link.vxlan is not None:  # a namespace goes some time later
                    batch.delete_link(link.name)
                    ports.add(link.vxlan[2])
            batch.send(inside)
    drop_namespace(path)
    if ports:
        from services.networks.drivers.esp import drop_guard

        drop_guard(ports - _ports_in_use(directory))


def _ports_in_use(directory: Path) -> set[int]:
    """The VXLAN ports of networks that are held."""
    found: set[int] = set()
    for name in held_namespaces(directory):
        inside = enter_namespace(namespace_of_network(directory, name))
        if inside is not None:
            with inside:
                found.update(link.vxlan[2] for link in links(inside).values() if link.vxlan)
    return found


def sync_neighbours(
    network: Network, directory: Path, wanted: Iterable[Neighbour], *, mends: bool = True
) -> int:
    """Compare who is behind the VXLAN links with who should be; how many entries were changed, or
    would have been if not `mends`.

    Raises:
        EngineError: the network's links are not there.
        NetlinkError: the kernel refused.
    """
    inside = enter_namespace(namespace_of_network(directory, network.id))
    if inside is None:
        raise EngineError(f"the namespace of network {network.name} is gone")
    wanted = list(wanted)
    changed = 0
    with inside:
        present = links(inside)
        for number, subnet in enumerate(carried_subnets(network)):
            link = present.get(vxlan_name(network.id, number))
            if link is None:
                raise EngineError(f"the VXLAN link of network {network.name} is gone")
            bridge = present.get(bridge_name(number))
            if bridge is None or not bridge.is_up or not link.is_up or link.master != bridge.index:
                raise EngineError(f"the bridge of network {network.name} leads nowhere")
            theirs = [one for one in wanted if ip_address(one.address) in subnet.prefix]
            batch, count = _differences(inside, link.index, theirs)
            if mends:
                batch.send(inside)
            changed += count
    return changed


def joined_links(network: Network, directory: Path) -> dict[str, str]:
    """Links in a network's namespace that are up, with the bridge that each one is in.

    Raises:
        EngineError: the namespace is gone.
    """
    inside = enter_namespace(namespace_of_network(directory, network.id))
    if inside is None:
        raise EngineError(f"the namespace of network {network.name} is gone")
    with inside:
        present = links(inside)
    names = {link.index: link.name for link in present.values()}
    return {
        link.name: names[link.master]
        for link in present.values()
        if link.is_up and link.master in names
    }


def _differences(
    inside: socket.socket, index: int, wanted: list[Neighbour]
) -> tuple[VxlanBatch, int]:
    known, ways = neighbours(inside, index), forwarding(inside, index)
    addresses = {one.address: mac_bytes(one.mac) for one in wanted}
    nodes = {mac_bytes(one.mac): one.node for one in wanted}
    batch, count = VxlanBatch(), 0
    # Forwarding before neighbours: who is told of an address must reach it.
    for mac, node in nodes.items():
        if ways.get(mac) != node:
            batch.put_forwarding(index, mac, node)
            count += 1
    for address, mac in addresses.items():
        if known.get(address) != mac:
            batch.put_neighbour(index, address, mac)
            count += 1
    for address in known.keys() - addresses.keys():
        batch.delete_neighbour(index, address)
        count += 1
    for mac in ways.keys() - nodes.keys():
        batch.delete_forwarding(index, mac)
        count += 1
    return batch, count


def _entered_or_made(path: Path) -> socket.socket:
    inside = enter_namespace(path)
    if inside is not None:
        return inside
    inside = make_namespace(path)
    batch = VxlanBatch()
    batch.set_up(LOOPBACK, "lo")
    batch.send(inside)
    return inside


def _make_bridge(
    inside: socket.socket, present: dict[str, Link], network: Network, number: int, subnet: Subnet
) -> None:
    """With the subnet's gateway as its address: the same on every node, and so never asked for
    on another one."""
    name = bridge_name(number)
    batch = VxlanBatch()
    if name not in present:
        mac = b"\x02\x42" + secrets.token_bytes(4)
        batch.add_bridge(name, mac=mac, mtu=overlay_mtu(network.options))
        batch.send(inside)
        present |= links(inside)
        batch = VxlanBatch()
    index = present[name].index
    batch.without_own_address(index, name, mtu=overlay_mtu(network.options))
    if subnet.gateway:
        batch.add_address(index, IPv4Interface(f"{subnet.gateway}/{subnet.prefix.prefixlen}"))
    batch.set_up(index, name)
    batch.send(inside)


def _make_vxlan(
    inside: socket.socket,
    present: dict[str, Link],
    network: Network,
    number: int,
    underlay: Underlay,
) -> None:
    subnet = carried_subnets(network)[number]
    name, bridge = vxlan_name(network.id, number), present[bridge_name(number)].index
    wanted = (subnet.vxlan_id, underlay.address, underlay.port)
    there = present.get(name)
    if there is not None and there.vxlan != wanted:
        batch = VxlanBatch()
        batch.delete_link(name)
        batch.send(inside)
        there = None
    if there is None:
        _add_vxlan(inside, network, name, subnet.vxlan_id, underlay)
    if there is None or there.master != bridge or not there.is_up:
        batch = VxlanBatch()
        batch.join_bridge(name, bridge, mtu=overlay_mtu(network.options))
        batch.send(inside)


def _add_vxlan(
    inside: socket.socket, network: Network, name: str, vxlan_id: int, underlay: Underlay
) -> None:
    """Asked for from the host's namespace, where its packets are to leave."""
    batch = VxlanBatch()
    with open_netlink() as outside, namespace_of(inside) as namespace:
        batch.add_vxlan(
            name,
            vxlan_id=vxlan_id,
            local=underlay.address,
            port=underlay.port,
            mtu=overlay_mtu(network.options),
            netns=namespace,
        )
        try:
            batch.send(outside)
        except NetlinkError as error:
            if error.errno == errno.EEXIST:
                raise EngineError(
                    f"network {network.name}: another network of this host has the VXLAN id "
                    f"{vxlan_id} on port {underlay.port}"
                ) from error
            raise
