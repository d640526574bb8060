"""What nodes need to encrypt what they send one another in overlay networks. Pure.

The cluster's keys are the same on each node, and numbered. From each follow, for each direction
between two nodes, a key of its own and the number (SPI) by which the receiver finds it. So no two
senders ever use one AES-GCM key, and who sends need not ask. All keys are received with; the last
but one is sent with: the newest may not have come to everybody yet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CIPHER_BYTES: Final = 32 + 4
"""An AES-256 key and RFC 4106's salt."""
_SPI_BYTES: Final = 4
_RESERVED_SPIS: Final = 256  # RFC 4303, 2.1
_PURPOSE: Final = b"wharfinger overlay 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKey:
    """One of the cluster's keys: 256 random bits. Of two, the one of the higher number is newer."""

    number: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One direction between two nodes under one key. The SPI tells it from all others.

    `cipher` is the AES-256 key and the salt behind it; the same SPI means the same one.
    """

    source: str
    destination: str
    spi: int
    cipher: bytes = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """All that one node is to have. `sent_by`: the SPI that it sends to each peer with.

    `own` and the peers are data path addresses of IPv4; `port` is the VXLAN port of encrypted
    networks. Without keys there are no associations, and nothing passes.
    """

    own: str
    port: int
    peers: frozenset[str]
    associations: frozenset[Association] = frozenset()
    sent_by: dict[str, int] = field(default_factory=dict)


def plan_encryption(
    own: str, port: int, peers: Collection[str], keys: Sequence[NodeKey]
) -> Encryption:
    """What a node needs for its peers under these keys, in any order. Some 30 us for each of both.

    Raises:
        ValueError: an address is none of IPv4.
    """
    ordered = sorted(keys, key=lambda key: key.number)
    found: set[Association] = set()
    sent_by: dict[str, int] = {}
    for peer in peers:
        found.update(association(peer, own, key) for key in ordered)
        for key in ordered[-2:-1] or ordered:
            sending = association(own, peer, key)
            found.add(sending)
            sent_by[peer] = sending.spi
    return Encryption(
        own=own,
        port=port,
        peers=frozenset(peers),
        associations=frozenset(found),
        sent_by=sent_by,
    )


def association(source: str, destination: str, key: NodeKey) -> Association:
    """What packets from one address to the other are encrypted with under a key."""
    info = (
        _PURPOSE
        + key.number.to_bytes(8, "big")
        + IPv4Address(source).packed
        + IPv4Address(destination).packed
    )
    derived = HKDF(SHA256(), CIPHER_BYTES + _SPI_BYTES, None, info).derive(key.secret)
    number = int.from_bytes(derived[CIPHER_BYTES:], "big")
    return Association(
        source=source,
        destination=destination,
        spi=_RESERVED_SPIS + number % ((1 << 32) - _RESERVED_SPIS),
        cipher=derived[:CIPHER_BYTES],
    )
