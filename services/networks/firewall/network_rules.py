"""What the firewall is told of a network. Values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from services.errors import InvalidParameter

_LINK_NAME: Final = re.compile(r'[^\s"*\\/]{1,15}\Z')
"""A link's name that nft takes between quotes as it stands; a star at its end is a pattern."""


class GatewayMode(Enum):
    """How the world outside reaches a network's containers in one IP family.

    Source: the bridge driver's options `com.docker.network.bridge.gateway_mode_ipv4` and `_ipv6`.
    """

    NAT = "nat"
    """By published ports at the host's addresses, and by nothing else."""
    NAT_UNPROTECTED = "nat-unprotected"
    """So, and also directly at the containers' addresses, every port."""
    ROUTED = "routed"
    """Directly at the containers' addresses, published ports alone; no address is translated."""
    ISOLATED = "isolated"
    """Not at all; the host has no address in the network. For internal ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRules:
    """One IP family of a network."""

    subnet: IPv4Network | IPv6Network
    mode: GatewayMode = GatewayMode.NAT
    masquerade: bool = True  # what leaves has one of the host's addresses
    host_address: IPv4Address | IPv6Address | None = None  # this one; None: the way's own

    @property
    def is_translated(self) -> bool:
        """Whether containers appear under the host's addresses."""
        return self.mode in (GatewayMode.NAT, GatewayMode.NAT_UNPROTECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRules:
    """A network on a bridge; a family that it does not have is None.

    Raises:
        InvalidParameter: a link's name that no rule can have.
    """

    bridge: str
    ipv4: FamilyRules | None = None
    ipv6: FamilyRules | None = None
    icc: bool = True  # its containers reach each other
    internal: bool = False  # nothing but the host is outside
    trusted_interfaces: tuple[str, ...] = ()  # reach published ports at containers' addresses

    def __post_init__(self) -> None:
        for name in (self.bridge, *self.trusted_interfaces):
            if not _LINK_NAME.match(name):
                raise InvalidParameter(f'invalid network interface name: "{name}"')

    def family(self, *, is_ipv6: bool) -> FamilyRules | None:
        """The rules of one family."""
        return self.ipv6 if is_ipv6 else self.ipv4


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPolicy:
    """What holds for all networks.

    `accept_mark`: packets with this mark, after its mask, may come in (`--bridge-accept-fwmark`).
    """

    allow_direct_routing: bool = False
    accept_mark: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container's address on a bridge, in one family; `is_routed` as the network's mode is."""

    bridge: str
    address: IPv4Address | IPv6Address
    is_routed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortTargets:
    """Where a container's published ports lead, by the family of the address on the host."""

    ipv4: Target | None = None
    ipv6: Target | None = None
