"""rtnetlink messages, encoded once and sent as one datagram.

Only what attaching a container needs. Measured: the whole batch takes about 1 ms, where a library
call for each step takes 10. Every message asks for an acknowledgement, and all of them are read.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from services.networks.model import IPV6_LEAST_MTU, Address

NLMSG_ERROR: Final = 2
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
REQUEST_ACK: Final = 0x1 | 0x4
CREATE_EXCL: Final = 0x400 | 0x200
CREATE_REPLACE: Final = 0x400 | 0x100
IFF_UP: Final = 1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_NET_NS_FD = 18, 26, 28
IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE = 8, 1
IFLA_MACVLAN_MODE, IFLA_VLAN_ID = 1, 1
IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS = 1, 2
IFA_F_NODAD: Final = 2
IFLA_PROTINFO, IFLA_BRPORT_MODE, NLA_F_NESTED = 12, 4, 0x8000
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_OIF, RTA_GATEWAY = 4, 5

HEADER: Final = struct.Struct("=IHHII")
INTERFACE_INFO: Final = struct.Struct("=BBHiII")
_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")


HAS_IPV6: Final = os.path.exists("/proc/sys/net/ipv6")
"""Whether the kernel speaks IPv6 at all."""


class NetlinkError(OSError):
    """The kernel refused a message; `errno` and the step that it was say why."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    """A string attribute."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute."""
    return attribute(kind, struct.pack("=I", value))


def no_own_address(mtu: int = 0) -> bytes:
    """The attribute that keeps the kernel from giving a link an IPv6 address of its own.

    Nothing for a link that has no IPv6 at all, which would refuse it: its packets are too small.
    `mtu` 0 is any that is large enough.
    """
    if not HAS_IPV6 or 0 < mtu < IPV6_LEAST_MTU:
        return b""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([ADDR_GEN_MODE_NONE]))
    return attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))


def _kind(name: str, data: bytes) -> bytes:
    """What kind of link a message is about, and what this kind wants to know."""
    info = text(IFLA_INFO_KIND, name) + attribute(IFLA_INFO_DATA, data)
    return attribute(IFLA_LINKINFO, info)


def _on_parent(name: str, *, index: int, parent: int, netns: int) -> bytes:
    """The beginning of a message that makes a link on a parent, in another namespace."""
    return (
        link_info(index=index)
        + text(IFLA_IFNAME, name)
        + number(IFLA_LINK, parent)
        + number(IFLA_NET_NS_FD, netns)
    )


def link_info(*, index: int = 0, up: bool = False) -> bytes:
    """The fixed head of a link message."""
    flags = IFF_UP if up else 0
    return INTERFACE_INFO.pack(socket.AF_UNSPEC, 0, 0, index, flags, flags)


@dataclass(slots=True)
class Batch:
    """Messages for one datagram, each with the words for what it does."""

    _messages: list[bytes] = field(default_factory=list)
    _steps: list[str] = field(default_factory=list)

    def _add(self, step: str, kind: int, flags: int, body: bytes) -> None:
        length = HEADER.size + len(body)
        sequence = len(self._messages) + 1
        self._messages.append(HEADER.pack(length, kind, REQUEST_ACK | flags, sequence, 0) + body)
        self._steps.append(step)

    def add_bridge(self, name: str, *, mac: bytes, mtu: int = 0) -> None:
        """Make a bridge, down."""
        kind = attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
        body = link_info() + text(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, mac)
        body += number(IFLA_MTU, mtu) if mtu else b""
        self._add(f"make bridge {name}", RTM_NEWLINK, CREATE_EXCL, body + kind)

    def add_dummy(self, name: str) -> None:
        """Make a link that leads nowhere, up."""
        kind = attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "dummy"))
        body = link_info(up=True) + text(IFLA_IFNAME, name) + no_own_address() + kind
        self._add(f"make dummy {name}", RTM_NEWLINK, CREATE_EXCL, body)

    def add_vlan(self, name: str, *, parent: int, tag: int) -> None:
        """Make a link for one VLAN of another, up."""
        kind = _kind("vlan", attribute(IFLA_VLAN_ID, struct.pack("=H", tag)))
        body = link_info(up=True) + text(IFLA_IFNAME, name) + number(IFLA_LINK, parent) + kind
        self._add(f"make vlan {name}", RTM_NEWLINK, CREATE_EXCL, body)

    def add_macvlan(
        self, name: str, *, index: int, mac: bytes, parent: int, mode: int, mtu: int, netns: int
    ) -> None:
        """Make a link on a parent of this namespace in another one. `index`, `mtu` 0: any."""
        body = (
            (number(IFLA_MTU, mtu) if mtu else b"")
            + (attribute(IFLA_ADDRESS, mac) if mac else b"")
            + _kind("macvlan", number(IFLA_MACVLAN_MODE, mode))
        )
        head = _on_parent(name, index=index, parent=parent, netns=netns)
        self._add(f"make macvlan {name}", RTM_NEWLINK, CREATE_EXCL, head + body)

    def add_ipvlan(
        self, name: str, *, index: int, parent: int, mode: int, flag: int, netns: int
    ) -> None:
        """Make a link that has its parent's hardware address; else as `add_macvlan`."""
        data = attribute(IFLA_IPVLAN_MODE, struct.pack("=H", mode))
        data += attribute(IFLA_IPVLAN_FLAGS, struct.pack("=H", flag))
        head = _on_parent(name, index=index, parent=parent, netns=netns)
        self._add(f"make ipvlan {name}", RTM_NEWLINK, CREATE_EXCL, head + _kind("ipvlan", data))

    def add_veth(
        self, name: str, *, index: int, mac: bytes, peer: str, peer_netns: int, mtu: int
    ) -> None:
        """Make a pair: `name` here, with the index wanted (0: any); `peer` in another namespace.

        Neither is up: the kernel refuses a link that is created up before its peer exists.
        """
        peer_body = (
            link_info()
            + text(IFLA_IFNAME, peer)
            + (number(IFLA_MTU, mtu) if mtu else b"")
            + number(IFLA_NET_NS_FD, peer_netns)
        )
        info = text(IFLA_INFO_KIND, "veth") + attribute(
            IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer_body)
        )
        body = (
            link_info(index=index)
            + text(IFLA_IFNAME, name)
            + attribute(IFLA_ADDRESS, mac)
            + (number(IFLA_MTU, mtu) if mtu else b"")
            + attribute(IFLA_LINKINFO, info)
        )
        self._add(f"make veth {name}", RTM_NEWLINK, CREATE_EXCL, body)

    def join_bridge(self, name: str, bridge: int, *, mtu: int = 0) -> None:
        """Make a link with this `mtu` a port of a bridge, and bring it up."""
        body = link_info(up=True) + text(IFLA_IFNAME, name) + number(IFLA_MASTER, bridge)
        self._add(f"put {name} into the bridge", RTM_NEWLINK, 0, body + no_own_address(mtu))

    def without_own_address(self, index: int, name: str, *, mtu: int = 0) -> None:
        """Keep the kernel from giving a link with this `mtu` an IPv6 address of its own."""
        if wanted := no_own_address(mtu):
            body = link_info(index=index) + wanted
            self._add(f"keep {name} without an address of its own", RTM_NEWLINK, 0, body)

    def set_hairpin(self, index: int, name: str) -> None:
        """Let a bridge send back to this port what came from it: to a container's own host port."""
        head = INTERFACE_INFO.pack(socket.AF_BRIDGE, 0, 0, index, 0, 0)
        mode = attribute(IFLA_BRPORT_MODE, b"\x01")
        body = head + attribute(IFLA_PROTINFO | NLA_F_NESTED, mode)
        self._add(f"let {name} send back", RTM_SETLINK, 0, body)

    def delete_link(self, name: str) -> None:
        """Delete a link, and with it the other end of a pair."""
        self._add(f"delete {name}", RTM_DELLINK, 0, link_info() + text(IFLA_IFNAME, name))

    def set_up(self, index: int, name: str) -> None:
        """Bring a link up."""
        self._add(f"set {name} up", RTM_NEWLINK, 0, link_info(index=index, up=True))

    def add_address(self, index: int, address: IPv4Interface | IPv6Interface) -> None:
        """Give a link an address; IPv4's with its network's broadcast, IPv6's at once usable."""
        packed = address.ip.packed
        family, flags, rest = socket.AF_INET6, IFA_F_NODAD, b""
        if address.version == 4:
            family, flags = socket.AF_INET, 0
            if address.network.prefixlen < 31:
                rest = attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
        body = (
            _IFADDR.pack(family, address.network.prefixlen, flags, 0, index)
            + attribute(IFA_LOCAL, packed)
            + attribute(IFA_ADDRESS, packed)
            + rest
        )
        self._add(f"add address {address}", RTM_NEWADDR, CREATE_REPLACE, body)

    def delete_address(self, index: int, address: IPv4Interface | IPv6Interface) -> None:
        """Take an address from a link."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        body = _IFADDR.pack(family, address.network.prefixlen, 0, 0, index) + attribute(
            IFA_LOCAL, address.ip.packed
        )
        self._add(f"take away address {address}", RTM_DELADDR, 0, body)

    def add_default_route(self, gateway: Address | None, index: int, *, version: int = 4) -> None:
        """Send everything else through `gateway`; None: whoever it is for is at the link."""
        body = _default_route(version) + number(RTA_OIF, index)
        if gateway is not None:
            body += attribute(RTA_GATEWAY, gateway.packed)
        self._add(f"route through {gateway or 'the link'}", RTM_NEWROUTE, CREATE_REPLACE, body)

    def delete_default_route(self, *, version: int = 4) -> None:
        """Send nothing else anywhere."""
        self._add("take away the default route", RTM_DELROUTE, 0, _default_route(version))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._messages

    def send(self, netlink: socket.socket) -> None:
        """Send all messages as one datagram and read every acknowledgement. Blocks briefly.

        Raises:
            NetlinkError: for the first message that was refused; later ones were tried too.
        """
        self.send_from(netlink, 0)

    def send_from(self, netlink: socket.socket, before: int) -> None:
        """As `send`, for messages that were numbered after `before` other ones."""
        if not self._messages:
            return
        netlink.send(b"".join(self._messages))
        refused = [(seq, code) for seq, code in _answers(netlink, len(self._messages)) if code]
        if refused:
            sequence, code = refused[0]
            step = self._steps[sequence - 1 - before]
            raise NetlinkError(code, f"{step}: {os.strerror(code)}")


def _answers(netlink: socket.socket, expected: int) -> Sequence[tuple[int, int]]:
    answers: list[tuple[int, int]] = []
    while len(answers) < expected:
        data = netlink.recv(65536)
        offset = 0
        while offset < len(data):
            length, kind, _, sequence, _ = HEADER.unpack_from(data, offset)
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, offset + HEADER.size)
                answers.append((sequence, -code))
            offset += (length + 3) & ~3
    return answers


def _default_route(version: int) -> bytes:
    """The head of a message about the default route of the main table."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return _RTMSG.pack(family, 0, 0, 0, 254, 3, 0, 1, 0)  # main table, boot, unicast


def link_index(netlink: socket.socket, name: str) -> int:
    """The index of a link in the namespace of `netlink`; 0 when there is none. Blocks briefly."""
    body = link_info() + text(IFLA_IFNAME, name)
    netlink.send(HEADER.pack(HEADER.size + len(body), RTM_GETLINK, 0x1, 1, 0) + body)
    data = netlink.recv(65536)
    if HEADER.unpack_from(data)[1] != RTM_NEWLINK:
        return 0
    return int(INTERFACE_INFO.unpack_from(data, HEADER.size)[3])


def open_netlink() -> socket.socket:
    """A route socket of the calling thread's network namespace. Answers are waited for 5 s."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    netlink.bind((0, 0))
    netlink.settimeout(5.0)
    return netlink
