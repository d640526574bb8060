"""rtnetlink messages about VXLAN links and who is behind them, and reading what there is.

The forwarding entries of a thousand peers are twenty datagrams and take some 25 ms, where a library
call for each takes a second.

Source: linux/if_link.h (IFLA_VXLAN_*), linux/neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from services.networks.kernel import rtnetlink as rt
from services.networks.kernel.long_batch import LongBatch
from services.networks.kernel.netlink_reading import attributes, dump
from services.networks.kernel.rtnetlink import attribute, number, text

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING = 1, 4, 7
IFLA_VXLAN_PROXY, IFLA_VXLAN_PORT = 11, 15
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT: Final = 0x80
NTF_SELF: Final = 0x2

_NDMSG: Final = struct.Struct("=BxxxiHBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel tells of it. `vxlan` is id, local address and port of one that is."""

    name: str
    index: int
    master: int
    mtu: int
    is_up: bool
    vxlan: tuple[int, str, int] | None = None


class VxlanBatch(LongBatch):
    """Messages for VXLAN links and their peers, in as many datagrams as they need."""

    __slots__ = ()

    def add_vxlan(
        self, name: str, *, vxlan_id: int, local: str, port: int, mtu: int, netns: int
    ) -> None:
        """Make a link in another namespace whose packets leave through this one.

        It learns from nobody, and answers who asks for addresses by what it was told.
        """
        data = (
            number(IFLA_VXLAN_ID, vxlan_id)
            + (attribute(IFLA_VXLAN_LOCAL, IPv4Address(local).packed) if local else b"")
            + attribute(IFLA_VXLAN_LEARNING, b"\0")
            + attribute(IFLA_VXLAN_PROXY, b"\1")
            + attribute(IFLA_VXLAN_PORT, struct.pack("!H", port))
        )
        body = (
            rt.link_info()
            + text(rt.IFLA_IFNAME, name)
            + number(rt.IFLA_MTU, mtu)
            + number(rt.IFLA_NET_NS_FD, netns)
            + attribute(
                rt.IFLA_LINKINFO,
                text(rt.IFLA_INFO_KIND, "vxlan") + attribute(rt.IFLA_INFO_DATA, data),
            )
        )
        self._add(f"make vxlan {name} ({vxlan_id})", rt.RTM_NEWLINK, rt.CREATE_EXCL, body)

    def put_neighbour(self, index: int, address: str, mac: bytes) -> None:
        """Somebody with this address has this MAC address, behind a link."""
        head = _NDMSG.pack(socket.AF_INET, index, NUD_PERMANENT, 0, 0)
        body = head + attribute(NDA_DST, IPv4Address(address).packed) + attribute(NDA_LLADDR, mac)
        self._add(f"add neighbour {address}", RTM_NEWNEIGH, rt.CREATE_REPLACE, body)

    def delete_neighbour(self, index: int, address: str) -> None:
        """Nobody has this address any more."""
        head = _NDMSG.pack(socket.AF_INET, index, 0, 0, 0)
        body = head + attribute(NDA_DST, IPv4Address(address).packed)
        self._add(f"delete neighbour {address}", RTM_DELNEIGH, 0, body)

    def put_forwarding(self, index: int, mac: bytes, node: str) -> None:
        """What is for this MAC address goes to this node."""
        body = _forwarding(index, mac, NUD_PERMANENT)
        body += attribute(NDA_DST, IPv4Address(node).packed)
        self._add(f"forward to {node}", RTM_NEWNEIGH, rt.CREATE_REPLACE, body)

    def delete_forwarding(self, index: int, mac: bytes) -> None:
        """What is for this MAC address goes to no other node."""
        self._add("forward no more", RTM_DELNEIGH, 0, _forwarding(index, mac, 0))


def links(netlink: socket.socket) -> dict[str, Link]:
    """The links of a socket's namespace, by name."""
    found = (_link(body) for body in dump(netlink, rt.RTM_GETLINK, rt.link_info()))
    return {link.name: link for link in found}


def neighbours(netlink: socket.socket, index: int) -> dict[str, bytes]:
    """The permanent neighbours behind a link: MAC address by address."""
    found: dict[str, bytes] = {}
    for link, state, _, values in _neighbours(netlink, socket.AF_INET):
        if link == index and state & NUD_PERMANENT:
            found[str(IPv4Address(values[NDA_DST]))] = values.get(NDA_LLADDR, b"")
    return found


def forwarding(netlink: socket.socket, index: int) -> dict[bytes, str]:
    """Which node what is for a MAC address goes to, for a VXLAN link."""
    found: dict[bytes, str] = {}
    for link, _, flags, values in _neighbours(netlink, socket.AF_BRIDGE):
        if link == index and flags & NTF_SELF and len(values.get(NDA_DST, b"")) == 4:
            found[values[NDA_LLADDR]] = str(IPv4Address(values[NDA_DST]))
    return found


def _forwarding(index: int, mac: bytes, state: int) -> bytes:
    return _NDMSG.pack(socket.AF_BRIDGE, index, state, NTF_SELF, 0) + attribute(NDA_LLADDR, mac)


def _neighbours(
    netlink: socket.socket, family: int
) -> Iterator[tuple[int, int, int, dict[int, bytes]]]:
    for body in dump(netlink, RTM_GETNEIGH, _NDMSG.pack(family, 0, 0, 0, 0)):
        found, index, state, flags, _ = _NDMSG.unpack_from(body)
        if found == family:
            yield index, state, flags, attributes(body[_NDMSG.size :])


def _link(body: bytes) -> Link:
    _, _, _, index, flags, _ = rt.INTERFACE_INFO.unpack_from(body)
    values = attributes(body[rt.INTERFACE_INFO.size :])
    info = attributes(values.get(rt.IFLA_LINKINFO, b""))
    is_vxlan = info.get(rt.IFLA_INFO_KIND, b"").rstrip(b"\0") == b"vxlan"
    return Link(
        name=values[rt.IFLA_IFNAME].rstrip(b"\0").decode(),
        index=index,
        master=_integer(values.get(rt.IFLA_MASTER, b"")),
        mtu=_integer(values.get(rt.IFLA_MTU, b"")),
        is_up=bool(flags & rt.IFF_UP),
        vxlan=_vxlan(attributes(info.get(rt.IFLA_INFO_DATA, b""))) if is_vxlan else None,
    )


def _vxlan(data: dict[int, bytes]) -> tuple[int, str, int]:
    local = data.get(IFLA_VXLAN_LOCAL, b"")
    return (
        _integer(data.get(IFLA_VXLAN_ID, b"")),
        str(IPv4Address(local)) if local else "",
        int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big"),
    )


def _integer(value: bytes) -> int:
    found: int = struct.unpack("=I", value)[0] if len(value) == 4 else 0
    return found
