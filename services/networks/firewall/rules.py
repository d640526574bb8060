"""What the firewall is told of a network of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from services.networks.endpoints import Endpoint, Gateways
from services.networks.firewall.network_rules import (
    FamilyRules,
    GatewayMode,
    NetworkRules,
    PortTargets,
    Target,
)
from services.networks.model import Network
from services.networks.planning.bridge_options import BridgeOptions, parse_bridge_options


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
    return PortTargets(ipv4=_target(ways.ipv4, networks, 4), ipv6=_target(ways.ipv6, networks, 6))


def _target(
    endpoint: Endpoint | None, networks: Mapping[str, Network], version: int
) -> Target | None:
    network = networks.get(endpoint.network_id) if endpoint else None
    if endpoint is None or network is None or network.driver != "bridge":
        return None
    return Target(
        bridge=network.link,
        address=ip_address(endpoint.address if version == 4 else endpoint.address6),
        is_routed=_mode(parse_bridge_options(network.options), version) is GatewayMode.ROUTED,
    )


def _mode(options: BridgeOptions, version: int) -> GatewayMode:
    return GatewayMode(options.gateway_mode_ipv4 if version == 4 else options.gateway_mode_ipv6)


def _family(network: Network, options: BridgeOptions, version: int) -> FamilyRules | None:
    subnets = network.of_version(version)
    if not subnets:
        return None
    host = options.host_ipv4 if version == 4 else options.host_ipv6
    return FamilyRules(
        subnet=subnets[0].prefix,
        mode=_mode(options, version),
        masquerade=options.masquerade,
        host_address=ip_address(host) if host else None,
    )
