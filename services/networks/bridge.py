"""The default bridge: its link, its subnet, and one veth pair for each container on it.

The functions block for some milliseconds and are called in a thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

from services.networks.ipam import first_free_pool
from services.networks.ports import ANY_ADDRESS
from services.networks.rtnetlink import Batch, NetlinkError, open_netlink

LOOPBACK_INDEX: Final = 1
CONTAINER_LINK: Final = "eth0"
CONTAINER_LINK_INDEX: Final = 10
"""Chosen by us, so that address and route can be set without asking for it. A new namespace has
only a few low numbers of its own."""

HOST_LINK_PREFIX: Final = "veth"

_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """What the user wants of the default bridge. None and "" leave the choice to us.

    `address` is the bridge's own with its subnet (`--bip`), `allowed` the part of it that
    containers get addresses from (`--fixed-cidr`), `gateway` another default route for them.
    """

    name: str = "docker0"
    address: IPv4Interface | None = None
    allowed: IPv4Network | None = None
    gateway: IPv4Address | None = None
    mtu: int = 1500
    masquerade: bool = True
    ip_forward: bool = True
    firewall: bool = True
    host_address: str = ANY_ADDRESS  # of published ports that name none (`--ip`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge as it is on the host."""

    name: str
    index: int
    address: IPv4Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One container's end of the bridge."""

    address: IPv4Interface
    gateway: IPv4Address
    mac: bytes
    mtu: int


def ensure_bridge(config: BridgeConfig) -> Bridge:
    """Find the bridge or make it, with its address, up. An address that it already has is kept."""
    present = _address_of(config.name)
    address = config.address or present or _free_address()
    with open_netlink() as netlink:
        if not _exists(config.name):
            batch = Batch()
            batch.add_bridge(config.name, mac=_bridge_mac())
            batch.send(netlink)
        index = socket.if_nametoindex(config.name)
        batch = Batch()
        if present != address:
            batch.add_address(index, address)
        batch.set_up(index, config.name)
        batch.send(netlink)
    if config.ip_forward:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    if config.firewall:
        # For published ports at 127.0.0.1. What containers send there is dropped by the firewall.
        Path(f"/proc/sys/net/ipv4/conf/{config.name}/route_localnet").write_text("1")
    return Bridge(name=config.name, index=index, address=address)


def attach(bridge: Bridge, inside: socket.socket, attachment: Attachment) -> None:
    """Make a veth pair from a namespace into the bridge. `inside` is a route socket of it.

    What a failure leaves goes with the namespace.
    """
    with open_netlink() as outside:
        host_link = HOST_LINK_PREFIX + secrets.token_hex(4)
        _make_links(attachment, inside, host_link)
        batch = Batch()
        batch.join_bridge(host_link, bridge.index)
        batch.send(outside)
        batch = Batch()
        batch.set_hairpin(socket.if_nametoindex(host_link), host_link)
        batch.send(outside)


def detach(inside: socket.socket) -> None:
    """Delete the veth pair of the namespace that `inside` is a route socket of, if it has one."""
    batch = Batch()
    batch.delete_link(CONTAINER_LINK)
    try:
        batch.send(inside)
    except NetlinkError as error:
        if error.errno != errno.ENODEV:
            raise


def mac_of(address: IPv4Address) -> bytes:
    """Docker's locally administered address for an IPv4 address: 02:42 and its four bytes."""
    return b"\x02\x42" + address.packed


def _make_links(attachment: Attachment, inside: socket.socket, host_link: str) -> None:
    """The pair is made from inside: only the link that the request is for can choose its index."""
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        batch = Batch()
        batch.add_veth(
            CONTAINER_LINK,
            index=CONTAINER_LINK_INDEX,
            mac=attachment.mac,
            peer=host_link,
            peer_netns=descriptor,
            mtu=attachment.mtu,
        )
        batch.set_up(LOOPBACK_INDEX, "lo")
        batch.add_address(CONTAINER_LINK_INDEX, attachment.address)
        batch.set_up(CONTAINER_LINK_INDEX, CONTAINER_LINK)
        batch.add_default_route(attachment.gateway, CONTAINER_LINK_INDEX)
        batch.send(inside)
    finally:
        os.close(descriptor)


def _free_address() -> IPv4Interface:
    pool = first_free_pool(_host_routes())
    return IPv4Interface((int(pool.network_address) + 1, pool.prefixlen))


def _host_routes() -> list[IPv4Network]:
    """The destinations in /proc/net/route, whose numbers are in the host's byte order."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination = struct.pack("=I", int(fields[1], 16))
        mask = struct.pack("=I", int(fields[7], 16))
        routes.append(IPv4Network((destination, str(IPv4Address(mask)))))
    return routes


def _address_of(name: str) -> IPv4Interface | None:
    request = struct.pack("256s", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            address = fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(probe, _SIOCGIFNETMASK, request)[20:24]
        except OSError:
            return None
    return IPv4Interface((address, str(IPv4Address(mask))))


def _exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _bridge_mac() -> bytes:
    """A random, locally administered address of our own: without one it follows its lowest port."""
    return b"\x02\x42" + secrets.token_bytes(4)
