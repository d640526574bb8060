"""Who is called what in which network, as containers ask for it. No I/O.

A container sees the networks that it is in, and no other. A name is looked for in each of them, the
one that leads out first; `name.network` in the one of that name. What a container calls others by
itself (its links) goes before what they are called.

Source: moby, daemon/libnetwork/sandbox.go (ResolveName, ResolveIP, Endpoint.Less) and network.go
(ResolveName).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEndpoint:
    """One container's place in one network.

    Attributes:
        network: the network's name.
        names: what others in the network call it, none if nobody does. The first is its own.
        links: what it calls others in the network, by alias.
        leads_out: whether it can reach the world through this network.
        priority: its networks are asked in falling order of this (`--gw-priority`).
        is_group: it stands for several; an address of theirs is one's own name, not this.
    """

    container_id: str
    network: str
    names: tuple[str, ...]
    addresses: tuple[Address, ...]
    links: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    leads_out: bool = True
    priority: int = 0
    is_group: bool = False


class _Network:
    """The names of one network."""

    def __init__(self) -> None:
        self.endpoints: dict[str, NamedEndpoint] = {}
        self.by_name: dict[str, dict[str, tuple[Address, ...]]] = {}
        """By name in lower case: the addresses of each container that has it."""
        self.by_address: dict[Address, NamedEndpoint] = {}

    def add(self, endpoint: NamedEndpoint) -> None:
        self.endpoints[endpoint.container_id] = endpoint
        for name in endpoint.names:
            owners = self.by_name.setdefault(name.lower(), {})
            owners[endpoint.container_id] = endpoint.addresses
        for address in endpoint.addresses if not endpoint.is_group else ():
            self.by_address[address] = endpoint

    def discard(self, container_id: str) -> None:
        endpoint = self.endpoints.pop(container_id, None)
        if endpoint is None:
            return
        for name in {name.lower() for name in endpoint.names}:
            owners = self.by_name[name]
            del owners[container_id]
            if not owners:
                del self.by_name[name]
        for address in endpoint.addresses:
            if self.by_address.get(address) is endpoint:
                del self.by_address[address]

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        owners = self.by_name.get(name)
        if owners is None:
            return None
        return tuple(dict.fromkeys(one for several in owners.values() for one in several))


class NameBook:
    """The names of all networks.

    A change is seen by the next question.
    """

    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}
        self._places: dict[str, dict[str, NamedEndpoint]] = {}
        """By container, by network id; in the order in which the networks are asked."""

    def put(self, network_id: str, endpoint: NamedEndpoint) -> None:
        """A container is in a network, under these names; what it had there before is replaced."""
        self.remove(network_id, endpoint.container_id)
        self._networks.setdefault(network_id, _Network()).add(endpoint)
        places = self._places.get(endpoint.container_id, {}) | {network_id: endpoint}
        self._places[endpoint.container_id] = dict(
            sorted(places.items(), key=lambda item: _order(item[1]))
        )

    def remove(self, network_id: str, container_id: str) -> None:
        """A container has left a network. If it was not there, nothing happens."""
        network = self._networks.get(network_id)
        if network is not None:
            network.discard(container_id)
            if not network.endpoints:
                del self._networks[network_id]
        places = self._places.get(container_id, {})
        if places.pop(network_id, None) is not None and not places:
            del self._places[container_id]

    def forget(self, container_id: str) -> None:
        """A container is in no network any more."""
        for network_id in tuple(self._places.get(container_id, ())):
            self.remove(network_id, container_id)

    def endpoints(self) -> dict[str, Mapping[str, NamedEndpoint]]:
        """Who is in which network: by network id, then by container id. As of now."""
        return {network_id: dict(one.endpoints) for network_id, one in self._networks.items()}

    def leads_out(self, container_id: str) -> bool:
        """Whether a container can reach the world, or is in networks that do not lead there."""
        return any(place.leads_out for place in self._places.get(container_id, {}).values())

    def addresses(self, container_id: str, name: str) -> tuple[Address, ...] | None:
        """What a container means by a name, of both families; None if nobody it sees is called so.

        Names are equal whatever their case.
        """
        name = name.rstrip(".").lower()
        places = self._places.get(container_id, {})
        for own, network in _readings(name):
            for wants_link in (True, False):
                for network_id, place in places.items():
                    if network is not None and network != place.network.lower():
                        continue
                    linked = _link(place, own)
                    if (linked is not None) is not wants_link:
                        continue
                    found = self._networks[network_id].addresses(linked or own)
                    if found is not None:
                        return found
        return None

    def name_of(self, container_id: str, address: Address) -> str | None:
        """`name.network` of whoever has an address in a network that the container is in."""
        for network_id, place in self._places.get(container_id, {}).items():
            owner = self._networks[network_id].by_address.get(address)
            if owner is not None and owner.names:
                return f"{owner.names[0]}.{place.network}"
        return None


def _readings(name: str) -> Iterator[tuple[str, str | None]]:
    """A name as it stands, in any network; then as `name.network`, wherever the dot is."""
    yield name, None
    at = name.rfind(".")
    while at > 0:
        yield name[:at], name[at + 1 :]
        at = name.rfind(".", 0, at)


def _link(place: NamedEndpoint, alias: str) -> str | None:
    """Whom a container calls by this alias, in lower case."""
    for one, target in place.links.items():
        if one.lower() == alias:
            return target.lower()
    return None


def _order(place: NamedEndpoint) -> tuple[int, bool, str]:
    return -place.priority, not place.leads_out, place.network
