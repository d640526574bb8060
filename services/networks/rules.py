"""What the firewall is told of a network of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from services.networks.bridge_options import BridgeOptions, parse_bridge_options
from services.networks.endpoints import Gateways
from services.networks.model import Network
from services.networks.network_rules import (
    FamilyRules,
    GatewayMode,
    NetworkRules,
    PortTargets,
    Target,
)


def rules_of(network: Network) -> NetworkRules:
    """The rules for a network of the bridge driver."""
    options = parse_bridge_options(network.options)
    return NetworkRules(
        bridge=network.link,
        ipv4=_family(network, options, 4),
        ipv6=_family(network, options, 6),
        icc=options.icc,
        internal=network.internal,
        trusted_interfaces=options.trusted_interfaces,
    )


def targets_of(ways: Gateways, networks: Mapping[str, Network]) -> PortTargets:
    """Where published ports lead: to the endpoints that lead out, if that is over a bridge."""
    found: dict[str, Target | None] = {"ipv4": None, "ipv6": None}
    for name, endpoint in (("ipv4", ways.ipv4), ("ipv6", ways.ipv6)):
        network = networks.get(endpoint.network_id) if endpoint else None
        if endpoint is not None and network is not None and network.driver == "bridge":
            address = endpoint.address if name == "ipv4" else endpoint.address6
            found[name] = Target(bridge=network.link, address=ip_address(address))
    return PortTargets(**found)


def _family(network: Network, options: BridgeOptions, version: int) -> FamilyRules | None:
    subnets = network.of_version(version)
    if not subnets:
        return None
    mode = options.gateway_mode_ipv4 if version == 4 else options.gateway_mode_ipv6
    host = options.host_ipv4 if version == 4 else options.host_ipv6
    return FamilyRules(
        subnet=subnets[0].prefix,
        mode=GatewayMode(mode),
        masquerade=options.masquerade,
        host_address=ip_address(host) if host else None,
    )
