"""Published ports: what a container asks for and what it gets. Values, and rules without effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from services.errors import InvalidParameter

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - dockerd's default, and what clients show
ANY_ADDRESS_6: Final = "::"
ANY_ADDRESSES: Final = (ANY_ADDRESS, ANY_ADDRESS_6)
PROTOCOLS: Final = frozenset(("tcp", "udp", "sctp"))
LAST_PORT: Final = 65535
_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """One port to publish, at the first free host port from `first` to `last`; 0 is any.

    Without an address it is left to the network, and to the engine's settings.
    """

    protocol: str
    container_port: int
    host_address: str = ""
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortGroup:
    """One port that is to be had at each of these addresses of the host, by one number."""

    protocol: str
    container_port: int
    host_addresses: tuple[str, ...]
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A host port that leads to a container's.

    Without a host port (0) nothing is led: the container's own is open to those who reach it.
    """

    protocol: str
    container_port: int
    host_address: str
    host_port: int

    @property
    def is_ipv6(self) -> bool:
        """The family of its address on the host."""
        return ":" in self.host_address

    @property
    def container_key(self) -> str:
        """The container's end as Docker writes it: `80/tcp`."""
        return f"{self.container_port}/{self.protocol}"

    def overlaps(self, other: PublishedPort) -> bool:
        """Whether both want the same traffic."""
        return (
            self.host_port != 0
            and (self.protocol, self.host_port) == (other.protocol, other.host_port)
            and self.is_ipv6 == other.is_ipv6
            and (
                self.host_address == other.host_address
                or self.host_address in ANY_ADDRESSES
                or other.host_address in ANY_ADDRESSES
            )
        )


def parse_ports(text: str) -> tuple[int, int, str]:
    """First port, last port and protocol of `80`, `80/udp` or `8000-8010/tcp`.

    Raises:
        InvalidParameter: it is none of these.
    """
    numbers, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    found = _RANGE.match(numbers)
    if found is None or protocol not in PROTOCOLS:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= LAST_PORT:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    return first, last, protocol


def port_key(text: str) -> str:
    """One port as Docker writes it: `80/tcp`. Raises as `parse_ports`, and for a range."""
    first, last, protocol = parse_ports(text)
    if first != last:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    return f"{first}/{protocol}"


def ports_of_range(text: str) -> list[str]:
    """Each port of `80/tcp` or `8000-8010/udp`. Raises as `parse_ports`."""
    first, last, protocol = parse_ports(text)
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def port_requests(
    bindings: Mapping[str, Iterable[tuple[str, str]]],
    exposed: Iterable[str] = (),
    *,
    publish_all: bool = False,
) -> list[PortRequest]:
    """What is to be published, by container port: host address and host port, both may be "".

    `publish_all` adds the exposed ports that have no binding, each at any host port.

    Raises:
        InvalidParameter: no ports, or no address.
    """
    wanted: dict[str, list[tuple[str, str]]] = {}
    for text, asked in bindings.items():
        wanted.setdefault(port_key(text), []).extend(asked)
    if publish_all:
        for key in (key for text in exposed for key in ports_of_range(text)):
            if not wanted.get(key):
                wanted[key] = [("", "")]
    requests = [
        _request(key, address, port) for key, asked in wanted.items() for address, port in asked
    ]
    # Those that are chosen by name first: a free choice must not take what another one asks for.
    return sorted(dict.fromkeys(requests), key=_freedom)


def _request(key: str, address: str, port: str) -> PortRequest:
    number, _, protocol = key.partition("/")
    first, last, _ = parse_ports(port or "0")
    return PortRequest(
        protocol=protocol,
        container_port=int(number),
        host_address=_host_address(address),
        first=first,
        last=last,
    )


def _freedom(request: PortRequest) -> tuple[int, str, int]:
    choices = request.last - request.first if request.last else LAST_PORT
    return choices, request.protocol, request.container_port


def _host_address(text: str) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidParameter(f'invalid IP address in port binding: "{text}"') from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def by_container_port(
    ports: Iterable[PublishedPort],
) -> dict[str, Sequence[PublishedPort]]:
    """The published ports by the container's end, as Docker writes it."""
    found: dict[str, list[PublishedPort]] = {}
    for port in ports:
        found.setdefault(port.container_key, []).append(port)
    return dict(found)
