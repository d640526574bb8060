"""What the host has of links, routes and addresses. Blocks for microseconds."""

from __future__ import annotations

import ctypes
import fcntl
import json
import socket
import struct
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Final

from services.errors import EngineError
from services.networks.model import Prefix

LIST_LIMIT_S: Final = 10.0
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B
_SIOCGIFMTU: Final = 0x8921
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GDRVINFO: Final = 3
_DRIVER_INFO_BYTES: Final = 196  # struct ethtool_drvinfo, linux/ethtool.h
_NOBODYS: Final = (IPv6Network("fe80::/10"), IPv6Network("ff00::/8"))


def link_names() -> frozenset[str]:
    """The host's links."""
    return frozenset(name for _, name in socket.if_nameindex())


def bridge_ports() -> dict[str, str]:
    """The host's links, with the bridge that each one is in; "" is none. Blocks for some ms.

    Raises:
        EngineError: ip(8) says no.
    """
    done = subprocess.run(
        ["ip", "-j", "link", "show"],
        capture_output=True,
        timeout=LIST_LIMIT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"ip link show: {done.stderr.decode(errors='replace').strip()}")
    return {link["ifname"]: link.get("master", "") for link in json.loads(done.stdout or "[]")}


def is_bridge(name: str) -> bool:
    """Whether a link is a bridge: its driver says so. Not from /sys, see `link_mtu`."""
    info = bytearray(_DRIVER_INFO_BYTES)
    struct.pack_into("=I", info, 0, _ETHTOOL_GDRVINFO)
    place = (ctypes.c_char * len(info)).from_buffer(info)
    request = struct.pack("16sP8x", name.encode(), ctypes.addressof(place))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            fcntl.ioctl(probe, _SIOCETHTOOL, request)
        except OSError:
            return False
    return bytes(info[4:36]).rstrip(b"\0") == b"bridge"


def link_mtu(name: str) -> int:
    """How large a packet a link takes; 0 when it is not there.

    Not from /sys, which may be of another network namespace than ours.
    """
    request = struct.pack("16s16x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFMTU, request)
        except OSError:
            return 0
    mtu: int = struct.unpack_from("=i", answer, 16)[0]
    return mtu


def host_routes() -> list[Prefix]:
    """Where the host's routes lead; not the default ones, nor those that every link has."""
    return [*_routes4(), *_routes6()]


def address_of(name: str) -> IPv4Interface | None:
    """A link's IPv4 address, its first; None without one, or without the link."""
    request = struct.pack("256s", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            address = fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(probe, _SIOCGIFNETMASK, request)[20:24]
        except OSError:
            return None
    return IPv4Interface((address, str(IPv4Address(mask))))


def addresses6_of(name: str) -> list[IPv6Interface]:
    """A link's IPv6 addresses, without what the kernel gives every link."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return []
    fields = (line.split() for line in lines)
    found = (
        IPv6Interface((int(text, 16), int(length, 16)))
        for text, _, length, _, _, link in fields
        if link == name
    )
    return [address for address in found if not address.is_link_local]


def _routes4() -> list[IPv4Network]:
    """The destinations in /proc/net/route, whose numbers are in the host's byte order."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination = struct.pack("=I", int(fields[1], 16))
        mask = struct.pack("=I", int(fields[7], 16))
        routes.append(IPv4Network((destination, str(IPv4Address(mask)))))
    return [route for route in routes if route.prefixlen > 0]


def _routes6() -> list[IPv6Network]:
    try:
        lines = Path("/proc/net/ipv6_route").read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return []
    routes = {
        IPv6Network((int(fields[0], 16), int(fields[1], 16)), strict=False)
        for fields in (line.split() for line in lines)
        if fields[9] != "lo" or fields[1] != "80"
    }
    return [
        route
        for route in routes
        if route.prefixlen > 0 and not any(route.subnet_of(other) for other in _NOBODYS)
    ]
