"""What a network is: the record that is kept of it, and its subnets.

Source: Engine API, schemas Network, IPAM.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

BRIDGE: Final = "bridge"
HOST: Final = "host"
NONE: Final = "none"
PREDEFINED: Final = (BRIDGE, HOST, NONE)
"""The names of the networks that every engine has."""

GATEWAY_BRIDGE: Final = "docker_gwbridge"
"""The network that is the way out of containers in overlays; it is among no container's networks
that clients see, unless they have put it there."""

ENABLE_ICC: Final = "com.docker.network.bridge.enable_icc"
ENABLE_MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
BRIDGE_NAME: Final = "com.docker.network.bridge.name"
DEFAULT_BRIDGE: Final = "com.docker.network.bridge.default_bridge"
HOST_BINDING: Final = "com.docker.network.bridge.host_binding_ipv4"
INHIBIT_IPV4: Final = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODE_IPV4: Final = "com.docker.network.bridge.gateway_mode_ipv4"
GATEWAY_MODE_IPV6: Final = "com.docker.network.bridge.gateway_mode_ipv6"
TRUSTED_INTERFACES: Final = "com.docker.network.bridge.trusted_host_interfaces"
MTU: Final = "com.docker.network.driver.mtu"
INTERFACE_PREFIX: Final = "com.docker.network.container_iface_prefix"
HOST_IPV4: Final = "com.docker.network.host_ipv4"
HOST_IPV6: Final = "com.docker.network.host_ipv6"
OPTION_IPV4: Final = "com.docker.network.enable_ipv4"
OPTION_IPV6: Final = "com.docker.network.enable_ipv6"

IPV6_LEAST_MTU: Final = 1280
"""Bytes, RFC 8200; a link whose packets have less has no IPv6 in Linux."""


class Stage(enum.StrEnum):
    """How far a network has come; on disk before the step that it names is begun."""

    MAKING = "making"
    """Its link may be there; nobody was told of it. The next start takes both away."""
    PRESENT = "present"
    REMOVING = "removing"
    """Its removal is to be finished."""


class Subnet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One subnet of a network.

    `ip_range` is the part of it that containers get addresses from when they ask for none.
    `gateway` "" is none. `is_chosen`: the user has not named it. `vxlan_id` is of overlays.
    """

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = {}
    is_chosen: bool = False
    vxlan_id: int = 0

    @property
    def prefix(self) -> Prefix:
        """The subnet as a value."""
        return ip_network(self.subnet)

    @property
    def gateway_address(self) -> Address | None:
        """The gateway as a value."""
        return ip_address(self.gateway) if self.gateway else None

    @property
    def auxiliary_addresses(self) -> list[Address]:
        """What no container may have, as values."""
        return [ip_address(address) for address in self.auxiliary.values()]


class Underlay(msgspec.Struct, frozen=True, kw_only=True):
    """What an overlay's packets go over: this node's address among the nodes, and a UDP port."""

    address: str
    port: int = 4789


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network. `created_at_ns` 0: it has always been there.

    `link` is its bridge, or the parent of its macvlan or ipvlan links; `owns_link`: made by us.
    `underlay` is of overlays, whose links stand in a namespace of their own.
    """

    id: str
    name: str
    driver: str
    created_at_ns: int = 0
    scope: str = "local"
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    subnets: list[Subnet] = []
    link: str = ""
    owns_link: bool = False
    underlay: Underlay | None = None
    stage: Stage = Stage.PRESENT

    @property
    def is_predefined(self) -> bool:
        """Whether every engine has it."""
        return self.name in PREDEFINED

    @property
    def is_of_cluster(self) -> bool:
        """Whether it spans nodes: the managers say what it is, and when it goes."""
        return self.scope == "swarm"

    @property
    def is_default_bridge(self) -> bool:
        """The network of containers that name none."""
        return self.name == BRIDGE

    def of_version(self, version: int) -> list[Subnet]:
        """Its subnets of IPv4 or IPv6."""
        return [subnet for subnet in self.subnets if subnet.prefix.version == version]
