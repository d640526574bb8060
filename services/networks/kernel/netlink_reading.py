"""Reading what the kernel lists by netlink."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from socket import socket
from typing import Final

from services.networks.kernel import rtnetlink as rt

NLM_REQUEST, NLM_DUMP = 0x1, 0x300
NLMSG_DONE: Final = 3


def dump(netlink: socket, kind: int, body: bytes, *, what: str = "list links") -> Iterator[bytes]:
    """The bodies of all that the kernel lists. Blocks; each part of the list for 5 s at most.

    Raises:
        NetlinkError: it does not list that; `what` is the words for it.
    """
    length = rt.HEADER.size + len(body)
    netlink.send(rt.HEADER.pack(length, kind, NLM_REQUEST | NLM_DUMP, 0, 0) + body)
    while True:
        data = netlink.recv(1 << 18)
        offset = 0
        while offset + rt.HEADER.size <= len(data):
            length, kind, *_ = rt.HEADER.unpack_from(data, offset)
            if kind == NLMSG_DONE or length < rt.HEADER.size:
                return
            if kind == rt.NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, offset + rt.HEADER.size)
                raise rt.NetlinkError(-code, what)
            yield data[offset + rt.HEADER.size : offset + length]
            offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The values of a message's attributes, by kind."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found
