"""Flows that the kernel remembers. UDP has no end: a flow to a published port would go on to the
container that had it before, or to nobody, as long as the client sends.

Source: linux/netfilter/nfnetlink_conntrack.h. The functions block and are called in a thread.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Set
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from services.networks.kernel.netfilter import open_netfilter

_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_GET: Final = (1 << 8) | 1
_DELETE: Final = (1 << 8) | 2
_REQUEST: Final = 0x1
_DUMP: Final = 0x300
_ERROR: Final = 2
_DONE: Final = 3
_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
_IPV4_SOURCE, _IPV4_DESTINATION = 1, 2
_PROTOCOL_NUMBER, _PROTOCOL_DESTINATION = 1, 3
_HEADER: Final = struct.Struct("=IHHII")
_NFGEN_BYTES: Final = 4


def forget_udp_flows(ports: Set[int]) -> int:
    """Forget the flows that were sent to one of these ports; how many there were."""

    def is_meant(original: bytes, _reply: bytes) -> bool:
        return _udp_port(original) in ports

    return sum(_forget(is_meant, family) for family in (socket.AF_INET, socket.AF_INET6))


def forget_led_flows(kept: Mapping[str, Set[str]]) -> int:
    """Forget UDP flows to balanced keys that are answered by none of those that are kept.

    A key is an IPv4 address, or "udp . " and a port; for each, who may answer. How many there were.
    """

    def is_meant(original: bytes, reply: bytes) -> bool:
        port = _udp_port(original)
        if port is None:
            return False
        keys = (_address(original, _IPV4_DESTINATION), f"udp . {port}")
        key = next((key for key in keys if key in kept), None)
        return key is not None and _address(reply, _IPV4_SOURCE) not in kept[key]

    return _forget(is_meant, socket.AF_INET) if _has_flows() else 0


def _has_flows() -> bool:
    """Whether the namespace remembers any flow. Listing them costs 16 ms, however few there are."""
    try:
        return _COUNT.read_text().strip() != "0"
    except OSError:
        return True


def _forget(is_meant: Callable[[bytes, bytes], bool], family: int) -> int:
    with open_netfilter() as netlink:
        netlink.settimeout(5.0)
        flows = [
            original for original, reply in _flows(netlink, family) if is_meant(original, reply)
        ]
        for flow in flows:
            netlink.send(_message(_DELETE, _REQUEST, family, _packed(_TUPLE_ORIGINAL, flow)))
    return len(flows)


def _flows(netlink: socket.socket, family: int) -> Iterator[tuple[bytes, bytes]]:
    """Both directions of each flow, as the kernel wrote them."""
    netlink.send(_message(_GET, _REQUEST | _DUMP, family, b""))
    while True:
        data = netlink.recv(65536)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind in (_DONE, _ERROR) or length < _HEADER.size:
                return
            values = _attributes(data[offset + _HEADER.size + _NFGEN_BYTES : offset + length])
            original = values.get(_TUPLE_ORIGINAL)
            if original is not None:
                yield original, values.get(_TUPLE_REPLY, b"")
            offset += (length + 3) & ~3


def _udp_port(flow: bytes) -> int | None:
    """The destination of a UDP flow; None of any other."""
    protocol = _attributes(_attributes(flow).get(_TUPLE_PROTOCOL, b""))
    if protocol.get(_PROTOCOL_NUMBER, b"\0")[0] != socket.IPPROTO_UDP:
        return None
    return int.from_bytes(protocol.get(_PROTOCOL_DESTINATION, b""), "big")


def _address(flow: bytes, end: int) -> str:
    """One end of a flow's direction; "" when it is not of IPv4."""
    value = _attributes(_attributes(flow).get(_TUPLE_ADDRESSES, b"")).get(end, b"")
    return str(IPv4Address(value)) if len(value) == 4 else ""


def _attributes(body: bytes) -> dict[int, bytes]:
    found, offset = {}, 0
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _packed(kind: int, value: bytes) -> bytes:
    nested = 0x8000
    return struct.pack("=HH", len(value) + 4, kind | nested) + value


def _message(kind: int, flags: int, family: int, body: bytes) -> bytes:
    length = _HEADER.size + _NFGEN_BYTES + len(body)
    family_and_version = struct.pack("=BBH", family, 0, 0)
    return _HEADER.pack(length, kind, flags, 1, 0) + family_and_version + body
