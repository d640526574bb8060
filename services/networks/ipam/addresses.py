"""Which addresses of a network are free. Pure: nothing here touches the host."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

from services.errors import EngineError, Forbidden, InvalidParameter
from services.networks.model import Address, Network, Prefix, Subnet

REMEMBERED: Final = 1024  # addresses of those who have gone and may come again, by network


class PoolExhausted(EngineError):
    """Every address of a pool is taken."""


class AddressPool:
    """The addresses of one subnet: each is handed out once, the longest unused one first.

    The network's own address is never handed out, nor IPv4's broadcast address, nor the gateway.
    """

    def __init__(
        self, subnet: Prefix, *, gateway: Address | None = None, allowed: Prefix | None = None
    ) -> None:
        self.subnet = subnet
        self.gateway = gateway
        self.allowed = allowed or subnet
        self._kind = type(subnet.network_address)
        self._first = int(self.allowed.network_address)
        self._last = int(self.allowed.broadcast_address)
        self._next = self._first
        self._never = reserved_addresses(subnet)
        if gateway is not None:
            self._never.add(int(gateway))
        self._taken = set(self._never)

    def take_free(self) -> Address:
        """The next free address after the one handed out last.

        Raises:
            PoolExhausted: none is left.
        """
        size = self._last - self._first + 1
        for step in range(min(size, len(self._taken) + 1)):
            candidate = self._first + (self._next - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._next = candidate + 1 if candidate < self._last else self._first
                return self._kind(candidate)
        raise PoolExhausted(f"no available addresses on this pool: {self.subnet}")

    def take(self, address: Address) -> None:
        """Take this one address.

        Raises:
            InvalidParameter: it is not one of the subnet's.
            Forbidden: it is taken.
        """
        if address not in self.subnet:
            raise InvalidParameter(
                f"invalid address {address}: it does not belong to {self.subnet}"
            )
        if int(address) in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(int(address))

    def keep(self, address: Address) -> None:
        """Never hand out this one; give it back to nobody."""
        self._never.add(int(address))
        self._taken.add(int(address))

    def take_if_free(self, address: Address) -> bool:
        """Take an address; whether it was free."""
        is_free = int(address) not in self._taken
        self._taken.add(int(address))
        return is_free

    def give_back(self, address: Address) -> None:
        """Let others have the address. One that is free already is fine."""
        if int(address) not in self._never:
            self._taken.discard(int(address))

    @property
    def handed_out(self) -> list[Address]:
        """The addresses that others have."""
        return [self._kind(address) for address in self._taken - self._never]

    @property
    def in_use(self) -> int:
        """How many of the subnet's addresses cannot be had."""
        return len(self._taken)

    @property
    def available(self) -> int:
        """How many addresses can still be handed out."""
        taken = sum(1 for address in self._taken if self._first <= address <= self._last)
        return self._last - self._first + 1 - taken


class NetworkAddresses:
    """The addresses of all subnets of one network. One for the life of the engine.

    Who comes again gets what it had, if nobody else has it: others may have resolved its name once
    and for all. The last `REMEMBERED` are known.
    """

    def __init__(self, network: Network) -> None:
        self.name, self.id, self.subnets = network.name, network.id, network.subnets
        self.pools = [_pool_of(subnet) for subnet in network.subnets]
        self._elsewhere: set[Address] = set()  # of containers, in no subnet that is known yet
        self._had: dict[tuple[str, int], Address] = {}  # by owner and version, the oldest first

    def take(
        self, version: int, wanted: Address | None, *, owner: str = ""
    ) -> tuple[Address, AddressPool]:
        """An address for `owner` (anybody's id; "" is nobody's), and the pool that it is of.

        Raises:
            InvalidParameter: the one that is wanted is in none of the subnets.
            Forbidden: it is taken.
            EngineError: none is left.
        """
        pools = [pool for pool in self.pools if pool.subnet.version == version]
        if wanted is not None:
            for pool in pools:
                if wanted in pool.subnet:
                    pool.take(wanted)
                    return wanted, pool
            raise InvalidParameter(
                f"invalid endpoint settings:\nno configured subnet or ip-range contain the IP "
                f"address {wanted}"
            )
        had = self._had.get((owner, version))
        for pool in pools:
            if had is not None and had in pool.allowed and pool.take_if_free(had):
                return had, pool
        for pool in pools:
            try:
                address = pool.take_free()
            except PoolExhausted:
                continue
            self._remember(owner, address)
            return address, pool
        raise EngineError(
            f"no available IPv{version} addresses on this network's address pools: "
            f"{self.name} ({self.id})"
        )

    def take_if_free(self, address: Address, *, owner: str = "") -> None:
        """Count an address as taken that a container already has."""
        self._remember(owner, address)
        for pool in self.pools:
            if address in pool.subnet:
                pool.take_if_free(address)
                return
        self._elsewhere.add(address)

    def give_back(self, address: Address) -> None:
        """Let others have an address. One that is free already is fine."""
        self._elsewhere.discard(address)
        for pool in self.pools:
            if address in pool.subnet:
                pool.give_back(address)

    def _remember(self, owner: str, address: Address) -> None:
        if not owner:
            return
        self._had.pop((owner, address.version), None)
        self._had[owner, address.version] = address
        if len(self._had) > REMEMBERED:
            del self._had[next(iter(self._had))]

    @property
    def handed_out(self) -> list[Address]:
        """The addresses that containers have."""
        handed_out = [address for pool in self.pools for address in pool.handed_out]
        return [*handed_out, *self._elsewhere]


def reserved_addresses(subnet: Prefix) -> set[int]:
    """What nobody can have: the subnet's own address and IPv4's broadcast address."""
    if subnet.version == 6:
        return {int(subnet.network_address)}
    if subnet.max_prefixlen - subnet.prefixlen <= 1:  # RFC 3021: a link between two has neither
        return set()
    return {int(subnet.network_address), int(subnet.broadcast_address)}


def _pool_of(subnet: Subnet) -> AddressPool:
    pool = AddressPool(
        subnet.prefix,
        gateway=subnet.gateway_address,
        allowed=ip_network(subnet.ip_range) if subnet.ip_range else None,
    )
    for address in subnet.auxiliary_addresses:
        pool.keep(address)
    return pool


def first_free_address(subnet: Subnet) -> Address:
    """What becomes the gateway of a subnet that was given none.

    Raises:
        PoolExhausted: the subnet is too small.
    """
    return _pool_of(subnet).take_free()
