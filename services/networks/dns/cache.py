"""Answers of other servers, for as long as those allow. No I/O.

dockerd keeps none. It is bounded by bytes: what was asked for longest ago goes first. So a
container that asks for very many names costs the others the time to ask anew, and nothing else.

Source: RFC 2308 (the absence of a name is believed for the lesser of the SOA's TTL and minimum).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from services.networks.dns import wire

MOST_BYTES: Final = 4 << 20
LARGEST_ANSWER: Final = 4096
LONGEST_S: Final = 3600
LONGEST_ABSENCE_S: Final = 300
_OVERHEAD_BYTES: Final = 1000
_TTL_BYTES: Final = 120
"""What an answer, and each of its records, costs besides its own bytes; with its key."""


@dataclass(frozen=True, slots=True)
class _Kept:
    message: bytes
    ttls: tuple[tuple[int, int], ...]
    """Where a TTL is, and what it was."""
    since: float
    until: float

    @property
    def cost(self) -> int:
        return len(self.message) + _OVERHEAD_BYTES + len(self.ttls) * _TTL_BYTES


class Cache:
    """Answers by what was asked, and of whom. Times are seconds of one steady clock."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0

    @property
    def cost_bytes(self) -> int:
        """What is held now."""
        return self._bytes

    def get(self, key: Hashable, now: float) -> bytes | None:
        """An answer with the TTLs that are left; its id is to be replaced."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            self._discard(key)
            return None
        self._kept.move_to_end(key)
        age = int(now - kept.since)
        message = bytearray(kept.message)
        for at, ttl in kept.ttls:
            message[at : at + 4] = max(ttl - age, 0).to_bytes(4, "big")
        return bytes(message)

    def put(self, key: Hashable, message: bytes, now: float) -> None:
        """Keep an answer, if it may be kept at all."""
        if len(message) > LARGEST_ANSWER:
            return
        try:
            lifetime_s, ttls = _lifetime(message)
        except wire.Malformed:
            return
        if lifetime_s <= 0:
            return
        self._discard(key)
        kept = _Kept(message, ttls, now, now + lifetime_s)
        self._kept[key] = kept
        self._bytes += kept.cost
        while self._bytes > self._most_bytes:
            self._discard(next(iter(self._kept)))

    def _discard(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.cost


def _lifetime(message: bytes) -> tuple[float, tuple[tuple[int, int], ...]]:
    """For how many seconds an answer may be kept, 0 for not at all; and its TTLs."""
    records = [one for one in wire.records(message) if one.type != wire.OPT]
    ttls = tuple((one.ttl_at, one.ttl) for one in records)
    answers = [one.ttl for one in records if one.section == 0]
    rcode = wire.rcode_of(message)
    if wire.is_truncated(message) or rcode not in (wire.NOERROR, wire.NXDOMAIN):
        return 0, ttls
    if answers and rcode == wire.NOERROR:
        return min(*answers, LONGEST_S), ttls
    absences = [
        min(one.ttl, wire.soa_minimum(message, one))
        for one in records
        if one.section == 1 and one.type == wire.SOA
    ]
    absence = min(absences, default=-math.inf)
    return min(absence, *answers, LONGEST_ABSENCE_S), ttls
