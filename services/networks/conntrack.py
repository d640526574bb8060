"""Flows that the kernel remembers. UDP has no end: a flow to a published port would go on to the
container that had it before, or to nobody, as long as the client sends.

Source: linux/netfilter/nfnetlink_conntrack.h. The functions block and are called in a thread.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Set
from typing import Final

from services.networks.nft_watch import NETLINK_NETFILTER

_GET: Final = (1 << 8) | 1
_DELETE: Final = (1 << 8) | 2
_REQUEST: Final = 0x1
_DUMP: Final = 0x300
_ERROR: Final = 2
_DONE: Final = 3
_TUPLE_ORIGINAL: Final = 1
_TUPLE_PROTOCOL: Final = 2
_PROTOCOL_NUMBER, _PROTOCOL_DESTINATION = 1, 3
_HEADER: Final = struct.Struct("=IHHII")
_NFGEN_BYTES: Final = 4


def forget_udp_flows(ports: Set[int]) -> int:
    """Forget the flows that were sent to one of these ports; how many there were."""
    return sum(_forget(ports, family) for family in (socket.AF_INET, socket.AF_INET6))


def _forget(ports: Set[int], family: int) -> int:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    ) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(5.0)
        flows = [flow for flow in _flows(netlink, family) if _udp_port(flow) in ports]
        for flow in flows:
            netlink.send(_message(_DELETE, _REQUEST, family, _packed(_TUPLE_ORIGINAL, flow)))
    return len(flows)


def _flows(netlink: socket.socket, family: int) -> Iterator[bytes]:
    """The original direction of each flow, as the kernel wrote it."""
    netlink.send(_message(_GET, _REQUEST | _DUMP, family, b""))
    while True:
        data = netlink.recv(65536)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind in (_DONE, _ERROR) or length < _HEADER.size:
                return
            body = data[offset + _HEADER.size + _NFGEN_BYTES : offset + length]
            original = _attributes(body).get(_TUPLE_ORIGINAL)
            if original is not None:
                yield original
            offset += (length + 3) & ~3


def _udp_port(flow: bytes) -> int | None:
    """The destination of a UDP flow; None of any other."""
    protocol = _attributes(_attributes(flow).get(_TUPLE_PROTOCOL, b""))
    if protocol.get(_PROTOCOL_NUMBER, b"\0")[0] != socket.IPPROTO_UDP:
        return None
    return int.from_bytes(protocol.get(_PROTOCOL_DESTINATION, b""), "big")


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
