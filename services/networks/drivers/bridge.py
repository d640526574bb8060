"""Networks of the bridge driver: the bridge on the host, and its addresses.

The functions block for some milliseconds and are called in a thread.
"""

from __future__ import annotations

import errno
import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Final

from services.errors import Forbidden
from services.networks.kernel.host_links import (
    address_of,
    addresses6_of,
    is_bridge,
    link_mtu,
    link_names,
)
from services.networks.kernel.rtnetlink import HAS_IPV6, Batch, NetlinkError, open_netlink
from services.networks.model import Network
from services.networks.planning.bridge_options import BridgeOptions, parse_bridge_options

LINK_LOCAL: Final = IPv6Interface("fe80::1/64")
"""What a bridge with IPv6 has besides, as dockerd's have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSwitches:
    """What the engine may change on the host for its bridges.

    `forwards`: switch IP forwarding on; `local_routes`: let 127.0.0.1 lead into a bridge.
    """

    forwards: bool = True
    local_routes: bool = True


def make_bridge(network: Network, switches: HostSwitches) -> None:
    """Have the bridge of a network, up, with its addresses. What is there already is kept.

    Raises:
        Forbidden: a link of that name is no bridge.
        NetlinkError: the kernel refused.
    """
    options, name = parse_bridge_options(network.options), network.link
    if name in link_names() and not is_bridge(name):
        raise Forbidden(f"existing interface {name} is not a bridge")
    with open_netlink() as netlink:
        if name not in link_names():
            batch = Batch()
            batch.add_bridge(name, mac=_bridge_mac(), mtu=options.mtu)
            batch.send(netlink)
        index = socket.if_nametoindex(name)
        batch = Batch()
        if not network.ipv6:
            batch.without_own_address(index, name, mtu=link_mtu(name))
        elif not _sysctl(f"ipv6/conf/{name}/disable_ipv6", "0"):
            raise NetlinkError(errno.EAFNOSUPPORT, "IPv6 cannot be enabled on a bridge")
        _set_addresses(batch, network, index, options)
        batch.set_up(index, name)
        batch.send(netlink)
    if network.ipv6:
        _sysctl(f"ipv6/conf/{name}/accept_ra", "0")
    if switches.forwards:
        _forward(network)
    if switches.local_routes and network.ipv4:
        # For published ports at 127.0.0.1. What containers send there is dropped by the firewall.
        _sysctl(f"ipv4/conf/{name}/route_localnet", "1")


def delete_link(name: str) -> None:
    """Delete a link; gone already is fine. Blocks for about 30 ms."""
    batch = Batch()
    batch.delete_link(name)
    with open_netlink() as netlink:
        try:
            batch.send(netlink)
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise


def bridge_addresses(
    network: Network, options: BridgeOptions
) -> list[IPv4Interface | IPv6Interface]:
    """The addresses that the host has on a network's bridge: its gateways."""
    addresses: list[IPv4Interface | IPv6Interface] = []
    for subnet in network.subnets:
        version = subnet.prefix.version
        if subnet.gateway and not (version == 4 and options.inhibit_ipv4):
            text = f"{subnet.gateway}/{subnet.prefix.prefixlen}"
            addresses.append(IPv4Interface(text) if version == 4 else IPv6Interface(text))
    return addresses


def _set_addresses(batch: Batch, network: Network, index: int, options: BridgeOptions) -> None:
    """Those that it is to have are added. On a bridge of ours others are taken away."""
    wanted = bridge_addresses(network, options)
    present: list[IPv4Interface | IPv6Interface] = [*addresses6_of(network.link)]
    if first := address_of(network.link):
        present.append(first)
    for address in present:
        if network.owns_link and address not in wanted and not network.is_default_bridge:
            batch.delete_address(index, address)
    for address in wanted:
        if address not in present:
            batch.add_address(index, address)
    if network.ipv6:
        batch.add_address(index, LINK_LOCAL)


def _forward(network: Network) -> None:
    """Switch on what is off; each switch is written once, since writing it resets other ones."""
    if network.ipv4:
        _switch_on("ipv4/ip_forward")
    if network.ipv6:
        _switch_on("ipv6/conf/default/forwarding")
        _switch_on("ipv6/conf/all/forwarding")


def _switch_on(name: str) -> None:
    path = Path("/proc/sys/net", name)
    if path.exists() and path.read_text().strip() != "1":
        path.write_text("1")


def _sysctl(name: str, value: str) -> bool:
    path = Path("/proc/sys/net", name)
    if HAS_IPV6 or name.startswith("ipv4/"):
        path.write_text(value)
        return True
    return False


def _bridge_mac() -> bytes:
    """A random, locally administered address of our own: without one it follows its lowest port."""
    return b"\x02\x42" + secrets.token_bytes(4)
