"""The addresses of one network: which are free, which is next."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from services.cluster.model.objects import VxlanNetwork

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass
class Range:
    """One subnet. Addresses go round: what was given back is given again as late as possible, so
    that nobody still speaks to who had it before."""

    subnet: VxlanNetwork
    _taken: set[int] = field(default_factory=set)
    _next: int = 0

    @cached_property
    def network(self) -> IpNetwork:
        """The subnet itself."""
        return ipaddress.ip_network(self.subnet.subnet, strict=False)

    @cached_property
    def _span(self) -> tuple[int, int]:
        return int(self.network.network_address), int(self.network.broadcast_address)

    @cached_property
    def _bounds(self) -> tuple[int, int]:
        """First and last address that may be given: neither the network's nor the broadcast."""
        pool = ipaddress.ip_network(self.subnet.ip_range or self.subnet.subnet, strict=False)
        first, last = int(pool.network_address), int(pool.broadcast_address)
        whole = self.network
        if first == int(whole.network_address):
            first += 1
        if last == int(whole.broadcast_address) and whole.version == 4:
            last -= 1
        return first, last

    @cached_property
    def _gateway(self) -> int:
        return int(ipaddress.ip_address(self.subnet.gateway)) if self.subnet.gateway else 0

    def has(self, version: int, address: int) -> bool:
        """Whether an address is of this subnet."""
        first, last = self._span
        return version == self.network.version and first <= address <= last

    def take(self) -> int | None:
        """The next address that is free; None when none is."""
        first, last = self._bounds
        if len(self._taken) > last - first:
            return None
        start = min(max(self._next, first), last)
        candidate = start
        while candidate in self._taken or candidate == self._gateway:
            candidate = candidate + 1 if candidate < last else first
            if candidate == start:
                return None
        self.mark(candidate)
        return candidate

    def mark(self, address: int) -> None:
        """An address is in use."""
        self._taken.add(address)
        first, last = self._bounds
        if first <= address <= last:
            self._next = max(self._next, address + 1) if address < last else first

    def release(self, address: int) -> None:
        """An address is free again."""
        self._taken.discard(address)

    def is_free(self, address: int) -> bool:
        """Whether it may be given to somebody who asks for it."""
        first, last = self._bounds
        return first <= address <= last and address not in self._taken | {self._gateway}

    def spell(self, address: int) -> str:
        """With its prefix length, as clients see it."""
        kind = ipaddress.IPv4Address if self.network.version == 4 else ipaddress.IPv6Address
        return f"{kind(address)}/{self.network.prefixlen}"


class AddressBook:
    """A network's ranges. `spelled` addresses are with their prefix length."""

    def __init__(self, subnets: Sequence[VxlanNetwork]) -> None:
        self.subnets = tuple(subnets)
        self._ranges = [Range(subnet) for subnet in subnets]

    def take(self) -> list[str] | None:
        """One address of each IP version that the network has; None when one has none left."""
        return self.take_asked(())

    def take_asked(self, addresses: Sequence[str]) -> list[str] | None:
        """These bare addresses, and one of each other version; None unless all can be had."""
        asked = [self._where(address)[:1] for address in addresses]
        if not all(found and found[0][0].is_free(found[0][1]) for found in asked):
            return None
        taken = [found[0] for found in asked]
        for used, address in taken:
            used.mark(address)
        for version in {one.network.version for one in self._ranges}:
            if all(used.network.version != version for used, _ in taken):
                found = self._take_version(version)
                if found is None:
                    for used, address in taken:
                        used.release(address)
                    return None
                taken.append(found)
        return [used.spell(address) for used, address in taken]

    def mark(self, spelled: str) -> None:
        """An address is in use."""
        for one, address in self._where(spelled):
            one.mark(address)

    def release(self, spelled: str) -> None:
        """An address is free again."""
        for one, address in self._where(spelled):
            one.release(address)

    def _take_version(self, version: int) -> tuple[Range, int] | None:
        for one in self._ranges:
            if one.network.version == version and (address := one.take()) is not None:
                return one, address
        return None

    def _where(self, spelled: str) -> list[tuple[Range, int]]:
        version, address = _parsed(spelled.partition("/")[0])
        return [(one, address) for one in self._ranges if one.has(version, address)]


def _parsed(text: str) -> tuple[int, int]:
    """IP version and number. An object of `ipaddress` takes ten times as long to make."""
    if ":" in text:
        return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text))
