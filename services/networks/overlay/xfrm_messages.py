"""Messages about IPsec: states (how packets are encrypted) and policies (which ones must be).

Keys go to the kernel by a socket only: in a program's arguments everybody could read them.

Source: linux/xfrm.h; net/xfrm/xfrm_user.c; RFC 4106 (AES-GCM in ESP).
"""

from __future__ import annotations

import enum
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from services.networks.kernel import rtnetlink as rt
from services.networks.kernel.long_batch import LongBatch
from services.networks.kernel.netlink_reading import attributes, dump
from services.networks.kernel.rtnetlink import attribute
from services.networks.overlay.encryption import Association

NETLINK_XFRM: Final = 6
XFRM_MSG_NEWSA, XFRM_MSG_DELSA, XFRM_MSG_GETSA = 0x10, 0x11, 0x12
XFRM_MSG_DELPOLICY, XFRM_MSG_GETPOLICY, XFRM_MSG_UPDPOLICY = 0x14, 0x15, 0x19
XFRMA_TMPL, XFRMA_SRCADDR, XFRMA_ALG_AEAD = 5, 13, 18
ALLOW, BLOCK = 0, 1
ICV_BITS: Final = 128
ALGORITHM: Final = b"rfc4106(gcm(aes))"

_ADDRESS: Final = struct.Struct("=4s12x")
_SELECTOR: Final = struct.Struct("=16s16s2s2s2s2sHBBB3xiI")
_ID: Final = struct.Struct("=16s4sB3x")
# No limits by bytes or packets, which is all ones; none by time, which is 0. Nothing used yet.
_LIFETIMES: Final = b"\xff" * 32 + bytes(32) + bytes(32)
_STATE_END: Final = struct.Struct("=12xIIHBBB7x")
_STATE_ID: Final = struct.Struct("=16s4sHB1x")
_POLICY_END: Final = struct.Struct("=IIBBBB4x")
_POLICY_ID: Final = struct.Struct("=56sIB3x")
_TEMPLATE: Final = struct.Struct("=24sH2x16sIBBB1xIII")
_AEAD: Final = struct.Struct("=64sII")
_STATE_BYTES: Final = _SELECTOR.size + _ID.size + 16 + len(_LIFETIMES) + _STATE_END.size
_POLICY_BYTES: Final = _SELECTOR.size + len(_LIFETIMES) + _POLICY_END.size
_TRANSPORT: Final = 0


class Direction(enum.IntEnum):
    """Which packets a policy is about: those that come here, or those that are sent from here."""

    IN = 0
    OUT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What becomes of UDP packets to a port. The lower `priority` goes first.

    With `reqid` they must be encrypted by a state that bears it, with `spi` by that one; without,
    they are dropped. `source` and `destination` are addresses; "" are all.
    """

    direction: Direction
    port: int
    priority: int
    source: str = ""
    destination: str = ""
    reqid: int = 0
    spi: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the kernel has of an association; not its key."""

    source: str
    destination: str
    spi: int
    reqid: int


class XfrmBatch(LongBatch):
    """Messages for states and policies."""

    __slots__ = ()

    def add_state(self, one: Association, *, reqid: int) -> None:
        """Have a state that packets of one direction are encrypted with, in transport mode.

        Packets may come again unseen: a node that begins anew counts from 0, and who kept count
        would drop all that it sends.
        """
        body = (
            _SELECTOR.pack(b"", b"", b"", b"", b"", b"", socket.AF_INET, 0, 0, 0, 0, 0)
            + _id(one.destination, one.spi)
            + _address(one.source)
            + _LIFETIMES
            + _STATE_END.pack(0, reqid, socket.AF_INET, _TRANSPORT, 0, 0)
        )
        aead = _AEAD.pack(ALGORITHM, len(one.cipher) * 8, ICV_BITS) + one.cipher
        step = f"encrypt from {one.source} to {one.destination}"
        self._add(step, XFRM_MSG_NEWSA, rt.CREATE_EXCL, body + attribute(XFRMA_ALG_AEAD, aead))

    def delete_state(self, one: State) -> None:
        """Have it no more."""
        body = _STATE_ID.pack(
            _address(one.destination),
            one.spi.to_bytes(4, "big"),
            socket.AF_INET,
            socket.IPPROTO_ESP,
        )
        body += attribute(XFRMA_SRCADDR, _address(one.source))
        self._add(f"forget a state from {one.source}", XFRM_MSG_DELSA, 0, body)

    def put_policy(self, one: Policy) -> None:
        """Have it, instead of one of the same selector and priority."""
        body = (
            _selector(one)
            + _LIFETIMES
            + _POLICY_END.pack(one.priority, 0, one.direction, ALLOW if one.reqid else BLOCK, 0, 0)
        )
        if one.reqid:
            template = _TEMPLATE.pack(
                _id(one.destination, one.spi),
                socket.AF_INET,
                _address(one.source),
                one.reqid,
                _TRANSPORT,
                0,
                0,
                *[0xFFFFFFFF] * 3,
            )
            body += attribute(XFRMA_TMPL, template)
        step = f"demand encryption of UDP port {one.port}"
        self._add(step, XFRM_MSG_UPDPOLICY, rt.CREATE_REPLACE, body)

    def delete_policy(self, one: Policy) -> None:
        """Have it no more."""
        body = _POLICY_ID.pack(_selector(one), 0, one.direction)
        self._add(f"demand nothing of UDP port {one.port}", XFRM_MSG_DELPOLICY, 0, body)


def open_xfrm() -> socket.socket:
    """A socket of the calling thread's network namespace. Answers are waited for 5 s.

    Raises:
        OSError: the kernel has no IPsec that can be set up.
    """
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_XFRM)
    netlink.bind((0, 0))
    netlink.settimeout(5.0)
    return netlink


def states(netlink: socket.socket) -> list[State]:
    """All states for ESP over IPv4 of a socket's namespace."""
    found = []
    for body in dump(netlink, XFRM_MSG_GETSA, b"", what="list IPsec states"):
        destination, spi, protocol = _ID.unpack_from(body, _SELECTOR.size)
        source = body[_SELECTOR.size + _ID.size :][:16]
        _, reqid, family, *_ = _STATE_END.unpack_from(body, _STATE_BYTES - _STATE_END.size)
        if family == socket.AF_INET and protocol == socket.IPPROTO_ESP:
            found.append(
                State(
                    source=_text(source),
                    destination=_text(destination),
                    spi=int.from_bytes(spi, "big"),
                    reqid=reqid,
                )
            )
    return found


def policies(netlink: socket.socket, port: int) -> list[Policy]:
    """The policies of a socket's namespace that are about UDP packets to a port, over IPv4."""
    found = []
    for body in dump(netlink, XFRM_MSG_GETPOLICY, b"", what="list IPsec policies"):
        one = _policy(body)
        if one is not None and one.port == port:
            found.append(one)
    return found


def _policy(body: bytes) -> Policy | None:
    """None for one of another kind than ours."""
    selector = _SELECTOR.unpack_from(body)
    destination, source, port, port_mask, _, _, family, _, _, protocol, _, _ = selector
    priority, _, direction, *_ = _POLICY_END.unpack_from(body, _POLICY_BYTES - _POLICY_END.size)
    is_ours = family == socket.AF_INET and protocol == socket.IPPROTO_UDP
    if not is_ours or port_mask != b"\xff\xff" or direction not in tuple(Direction):
        return None
    template = attributes(body[_POLICY_BYTES:]).get(XFRMA_TMPL, b"")
    reqid = spi = 0
    if len(template) >= _TEMPLATE.size:
        state, _, _, reqid, *_ = _TEMPLATE.unpack_from(template)
        spi = int.from_bytes(_ID.unpack(state)[1], "big")
    return Policy(
        direction=Direction(direction),
        port=int.from_bytes(port, "big"),
        priority=priority,
        source=_text(source),
        destination=_text(destination),
        reqid=reqid,
        spi=spi,
    )


def _selector(one: Policy) -> bytes:
    return _SELECTOR.pack(
        _address(one.destination),
        _address(one.source),
        one.port.to_bytes(2, "big"),
        b"\xff\xff",
        b"",
        b"",
        socket.AF_INET,
        32 if one.destination else 0,
        32 if one.source else 0,
        socket.IPPROTO_UDP,
        0,
        0,
    )


def _id(destination: str, spi: int) -> bytes:
    return _ID.pack(_address(destination), spi.to_bytes(4, "big"), socket.IPPROTO_ESP)


def _address(text: str) -> bytes:
    return _ADDRESS.pack(IPv4Address(text).packed if text else bytes(4))


def _text(packed: bytes) -> str:
    return str(IPv4Address(packed[:4])) if any(packed[:4]) else ""
