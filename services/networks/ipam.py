"""Which addresses of a network are free. Pure: nothing here touches the host."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from services.errors import Conflict, InvalidParameter

DEFAULT_POOLS: Final = (
    *(IPv4Network(f"172.{second}.0.0/16") for second in range(17, 32)),
    *(IPv4Network(f"192.168.{third}.0/20") for third in range(0, 256, 16)),
)
"""dockerd's local pools, in the order in which they are tried."""


class AddressPool:
    """The addresses of one subnet: each is handed out once, the longest unused one first.

    The network's and the broadcast address and the gateway are never handed out.
    """

    def __init__(
        self, subnet: IPv4Network, *, gateway: IPv4Address, allowed: IPv4Network | None = None
    ) -> None:
        self.subnet = subnet
        self.gateway = gateway
        allowed = allowed or subnet
        self._first = int(allowed.network_address)
        self._last = int(allowed.broadcast_address)
        self._next = self._first
        self._taken: set[int] = {
            int(subnet.network_address),
            int(subnet.broadcast_address),
            int(gateway),
        }

    def take_free(self) -> IPv4Address:
        """The next free address after the one handed out last.

        Raises:
            Conflict: none is left.
        """
        size = self._last - self._first + 1
        for step in range(size):
            candidate = self._first + (self._next - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._next = candidate + 1 if candidate < self._last else self._first
                return IPv4Address(candidate)
        raise Conflict(
            f"no available IPv4 addresses on this network's address pools: {self.subnet}"
        )

    def take(self, address: IPv4Address) -> None:
        """Take this one address.

        Raises:
            InvalidParameter: it is not one of the subnet's.
            Conflict: it is taken.
        """
        if address not in self.subnet:
            raise InvalidParameter(
                f"invalid address {address}: it does not belong to {self.subnet}"
            )
        if int(address) in self._taken:
            raise Conflict("Address already in use")
        self._taken.add(int(address))

    def take_if_free(self, address: IPv4Address) -> None:
        """Count an address as taken that a container already has."""
        self._taken.add(int(address))

    def give_back(self, address: IPv4Address) -> None:
        """Let others have the address. One that is free already is fine."""
        if address != self.gateway:
            self._taken.discard(int(address))


def first_free_pool(
    routes: Iterable[IPv4Network], pools: Iterable[IPv4Network] = DEFAULT_POOLS
) -> IPv4Network:
    """The first pool that overlaps none of the host's routes.

    Raises:
        Conflict: every pool overlaps one.
    """
    taken = [route for route in routes if route.prefixlen > 0]
    for pool in pools:
        if not any(pool.overlaps(route) for route in taken):
            return pool
    raise Conflict(
        "could not find an available, non-overlapping IPv4 address pool among the defaults "
        "to assign to the network"
    )
