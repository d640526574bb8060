"""A container's places in networks: what is asked for, what it gets, what its way out is. Pure."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Final

from services.errors import InvalidParameter
from services.networks.model import GATEWAY_BRIDGE

HOST_LINK_PREFIX: Final = "veth"
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
_DOTTED_MAC: Final = re.compile(r"[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """What is asked of one network. `network` is its name or id; "" leaves a choice to us.

    `is_given`: the address is one that the cluster's managers have given. `names` are what others
    in the network are to call it, for managers that are asked for a place.
    """

    network: str
    address: str = ""
    address6: str = ""
    link_local: tuple[str, ...] = ()
    mac_address: str = ""
    gateway_priority: int = 0
    interface: str = ""
    sysctls: tuple[str, ...] = ()
    is_given: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One container's place in one network. Addresses are "" where the network has none.

    `interface` is the link inside, "" without one. Without a gateway it leads nowhere else, unless
    `is_routed`: then everything is at the link, where the host routes it.
    """

    network: str
    network_id: str
    endpoint_id: str
    driver: str = "bridge"
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    address6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    mac_address: str = ""
    interface: str = ""
    gateway_priority: int = 0
    extra: tuple[str, ...] = ()
    sysctls: tuple[str, ...] = ()
    is_routed: bool = False

    @property
    def leads_out(self) -> bool:
        """Whether it can be the way to everywhere else."""
        return self.leads_out_by(4) or self.leads_out_by(6)

    def leads_out_by(self, version: int) -> bool:
        """The same for one IP version."""
        address, gateway = (
            (self.address, self.gateway) if version == 4 else (self.address6, self.gateway6)
        )
        return bool(gateway or (self.is_routed and address))

    @property
    def host_link(self) -> str:
        """The other end of its veth pair: found again after a crash by the endpoint's id."""
        return HOST_LINK_PREFIX + self.endpoint_id[:8]

    @property
    def is_way_out_only(self) -> bool:
        """Whether it is what a container in overlays leaves by: nobody has a name there."""
        return self.network == GATEWAY_BRIDGE

    @property
    def interfaces(self) -> list[IPv4Interface | IPv6Interface]:
        """Its addresses, each with the length of its network."""
        found: list[IPv4Interface | IPv6Interface] = []
        if self.address:
            found.append(IPv4Interface(f"{self.address}/{self.prefix_length}"))
        if self.address6:
            found.append(IPv6Interface(f"{self.address6}/{self.prefix_length6}"))
        return [*found, *(ip_interface(text) for text in self.extra)]


@dataclass(frozen=True, slots=True)
class Gateways:
    """The endpoints that lead everywhere else, by version; one may be both."""

    ipv4: Endpoint | None = None
    ipv6: Endpoint | None = None

    def of(self, version: int) -> tuple[Endpoint, IPv4Address | IPv6Address | None] | None:
        """An endpoint and its gateway, which a routed one has not; None if nothing leads out."""
        way = self.ipv4 if version == 4 else self.ipv6
        if way is None:
            return None
        gateway = way.gateway if version == 4 else way.gateway6
        return way, ip_address(gateway) if gateway else None


def gateways(endpoints: Iterable[Endpoint]) -> Gateways:
    """Which endpoints the default routes are through.

    The highest priority; among equals the network whose name comes first. What is a way out and
    nothing else comes last. Source: Engine API, EndpointSettings.GwPriority.
    """
    ways = sorted(endpoints, key=lambda e: (e.is_way_out_only, -e.gateway_priority, e.network))
    return Gateways(
        next((e for e in ways if e.leads_out_by(4)), None),
        next((e for e in ways if e.leads_out_by(6)), None),
    )


def free_interface(prefix: str, taken: Iterable[str]) -> str:
    """The first name with the prefix that no other link has."""
    taken = set(taken)
    number = 0
    while f"{prefix}{number}" in taken:
        number += 1
    return f"{prefix}{number}"


def checked_mac(text: str) -> str:
    """The address in Docker's spelling, "" for none.

    Raises:
        InvalidParameter: it is none.
    """
    if _DOTTED_MAC.match(text):
        text = ":".join(re.findall("..", text.replace(".", "")))
    if text and not _MAC.match(text):
        raise InvalidParameter(f"invalid MAC address: {text}")
    return text.lower().replace("-", ":")


def mac_of(address: IPv4Address) -> str:
    """Docker's locally administered address for an IPv4 address: 02:42 and its four bytes."""
    return (b"\x02\x42" + address.packed).hex(":")


def mac_of_address(address: str) -> str:
    """As `mac_of`, in a third of the time. Raises OSError for what is no IPv4 address."""
    return "02:42:" + socket.inet_aton(address).hex(":")


def mac_bytes(text: str) -> bytes:
    """The address as the kernel has it."""
    return bytes.fromhex(text.replace(":", ""))


def without(endpoints: Sequence[Endpoint], one: Endpoint) -> list[Endpoint]:
    """The other endpoints."""
    return [endpoint for endpoint in endpoints if endpoint.endpoint_id != one.endpoint_id]
