"""The pools that networks take their subnets from when nobody names one. Pure.

Source: moby, daemon/libnetwork/ipamutils; daemon/config (the pool of unique local addresses).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from services.errors import InvalidParameter
from services.networks.model import Prefix


@dataclass(frozen=True, slots=True)
class Pool:
    """A block of addresses that is cut into subnets with a prefix of `size` bits."""

    base: Prefix
    size: int


DEFAULT_POOLS: Final = (
    *(Pool(IPv4Network(f"172.{second}.0.0/16"), 16) for second in (17, 18, 19)),
    *(Pool(IPv4Network(f"172.{second}.0.0/14"), 16) for second in (20, 24, 28)),
    Pool(IPv4Network("192.168.0.0/16"), 20),
)
"""dockerd's local pools, in the order in which they are tried."""


def unique_local_pool(engine_id: str) -> Pool:
    """Where IPv6 subnets come from: 65,536 of them, of this engine's own (RFC 4193)."""
    own = hashlib.sha256(engine_id.encode()).digest()[:5]
    return Pool(IPv6Network((b"\xfd" + own + bytes(10), 48)), 64)


def with_unique_local(pools: Sequence[Pool], engine_id: str) -> tuple[Pool, ...]:
    """The pools, with the one for IPv6 unless the user has given one."""
    if any(pool.base.version == 6 for pool in pools):
        return tuple(pools)
    return (*pools, unique_local_pool(engine_id))


def free_subnet(pools: Iterable[Pool], version: int, taken: Iterable[Prefix]) -> Prefix:
    """The first subnet of the pools that overlaps none of `taken`.

    Raises:
        InvalidParameter: there is none; dockerd's text.
    """
    blocked = sorted(
        (int(prefix.network_address), int(prefix.broadcast_address))
        for prefix in taken
        if prefix.version == version and prefix.prefixlen > 0
    )
    for pool in pools:
        if pool.base.version == version:
            first = _first_free(pool, blocked)
            if first is not None:
                return type(pool.base)((first, pool.size))
    raise InvalidParameter("all predefined address pools have been fully subnetted")


def _first_free(pool: Pool, blocked: Iterable[tuple[int, int]]) -> int | None:
    """The first address of the pool's first free subnet. `blocked` are sorted spans."""
    span = 1 << (pool.base.max_prefixlen - pool.size)
    candidate, end = int(pool.base.network_address), int(pool.base.broadcast_address)
    for first, last in blocked:
        if candidate + span <= first:
            break
        if last >= candidate:
            candidate = (last // span + 1) * span
    return candidate if candidate + span - 1 <= end else None
