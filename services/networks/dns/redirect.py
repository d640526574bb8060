"""Leads port 53 of 127.0.0.11 to the ports where we listen, by nf_tables of the container's own.

Were 127.0.0.11:53 itself bound, a container's own server could not bind 0.0.0.0:53. The rules never
change but for the ports, so they are encoded here and sent as one transaction, by the thread that
is in the namespace anyway: no process is started for it, and it needs no firewall of the engine.

Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from services.networks.kernel.netfilter import open_netfilter
from services.networks.kernel.rtnetlink import attribute

SERVER: Final = IPv4Address("127.0.0.11")
"""Where containers ask, as dockerd has it."""

TABLE: Final = b"wharfinger-dns"

_NLMSG_ERROR: Final = 2
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES: Final = 10
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 2, 3, 6
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED: Final = 0x8000

_LOCAL_OUT: Final = 3
_PRIORITY: Final = -100
_REGISTER_1, _REGISTER_2 = 1, 2
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_PROTOCOL: Final = 16
_EQUAL: Final = 0
_DNAT: Final = 1

_HEADER: Final = struct.Struct("=IHHII")
_CODE: Final = struct.Struct("=i")
_PORT: Final = struct.pack("!H", 53)
_ANSWER_LIMIT_S: Final = 5.0


def redirect(udp_port: int, tcp_port: int) -> None:
    """Have these rules, and no others of ours, in the namespace of the calling thread. Blocks.

    Raises:
        OSError: the kernel refuses them.
    """
    requests = [
        (_NEW_TABLE, _CREATE, _text(1, TABLE)),
        (_DEL_TABLE, 0, _text(1, TABLE)),  # with what an earlier daemon has put there
        (_NEW_TABLE, _CREATE, _text(1, TABLE)),
        (_NEW_CHAIN, _CREATE, _chain()),
        (_NEW_RULE, _CREATE | _APPEND, _rule(socket.IPPROTO_UDP, udp_port)),
        (_NEW_RULE, _CREATE | _APPEND, _rule(socket.IPPROTO_TCP, tcp_port)),
    ]
    with open_netfilter() as netlink:
        netlink.settimeout(_ANSWER_LIMIT_S)
        netlink.send(_batch(requests))
        _await_answers(netlink, len(requests))


def _await_answers(netlink: socket.socket, count: int) -> None:
    """Each request is acknowledged, or refused; a batch that is refused as a whole once."""
    while count > 0:
        data = netlink.recv(65536)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _NLMSG_ERROR:
                code = -_CODE.unpack_from(data, at + _HEADER.size)[0]
                if code:
                    raise OSError(code, f"nf_tables refuses the DNS rules: {os.strerror(code)}")
                count -= 1
            at += max((length + 3) & ~3, _HEADER.size)


def _batch(requests: Sequence[tuple[int, int, bytes]]) -> bytes:
    begin = _message(_BATCH_BEGIN, _REQUEST, b"", family=0, resource=_NFTABLES)
    end = _message(_BATCH_END, _REQUEST, b"", family=0, resource=_NFTABLES)
    middle = (
        _message(_NFTABLES << 8 | kind, _REQUEST | _ACK | flags, body)
        for kind, flags, body in requests
    )
    return begin + b"".join(middle) + end


def _message(
    kind: int, flags: int, body: bytes, *, family: int = socket.AF_INET, resource: int = 0
) -> bytes:
    body = struct.pack("!BBH", family, 0, resource) + body
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _chain() -> bytes:
    hook = _number(1, _LOCAL_OUT) + _number(2, _PRIORITY)
    return _text(1, TABLE) + _text(3, b"output") + _nest(4, hook) + _text(7, b"nat")


def _rule(protocol: int, port: int) -> bytes:
    """`ip daddr 127.0.0.11 <protocol> dport 53 dnat to 127.0.0.11:<port>`."""
    expressions = (
        _payload(_NETWORK_HEADER, 16, 4),
        _compare(SERVER.packed),
        _expression(b"meta", _number(1, _REGISTER_1) + _number(2, _META_PROTOCOL)),
        _compare(bytes([protocol])),
        _payload(_TRANSPORT_HEADER, 2, 2),
        _compare(_PORT),
        _immediate(_REGISTER_1, SERVER.packed),
        _immediate(_REGISTER_2, struct.pack("!H", port)),
        _expression(
            b"nat",
            _number(1, _DNAT)
            + _number(2, socket.AF_INET)
            + _number(3, _REGISTER_1)
            + _number(5, _REGISTER_2),
        ),
    )
    return _text(1, TABLE) + _text(2, b"output") + _nest(4, b"".join(expressions))


def _payload(base: int, offset: int, length: int) -> bytes:
    numbers = _number(1, _REGISTER_1) + _number(2, base) + _number(3, offset) + _number(4, length)
    return _expression(b"payload", numbers)


def _compare(value: bytes) -> bytes:
    data = _number(1, _REGISTER_1) + _number(2, _EQUAL) + _nest(3, attribute(1, value))
    return _expression(b"cmp", data)


def _immediate(register: int, value: bytes) -> bytes:
    return _expression(b"immediate", _number(1, register) + _nest(2, attribute(1, value)))


def _expression(name: bytes, data: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, data))


def _text(kind: int, value: bytes) -> bytes:
    return attribute(kind, value + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))


def _nest(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, value)
