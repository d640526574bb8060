"""What each driver makes of a network's request: its link and its subnets. Pure.

Source: moby, daemon/libnetwork/drivers (bridge, macvlan, ipvlan).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

import msgspec

from services.errors import Forbidden, InvalidParameter
from services.networks import model
from services.networks.ipam.request import SubnetRequest, allocate
from services.networks.model import Network, Prefix, Subnet
from services.networks.planning.bridge_options import parse_bridge_options
from services.networks.planning.ipvlan_options import check_alone, parse_ipvlan_options
from services.networks.planning.macvlan_options import check_sharing, parse_macvlan_options
from services.networks.planning.parents import own_parent
from services.networks.planning.request import Surroundings


def _bridge(network: Network, subnets: Sequence[SubnetRequest], around: Surroundings) -> Network:
    options = parse_bridge_options(network.options)
    isolated = {
        4: options.gateway_mode_ipv4 == "isolated",
        6: options.gateway_mode_ipv6 == "isolated",
    }
    if any(isolated.values()) and not network.internal:
        raise InvalidParameter("gateway mode 'isolated' can only be used for an internal network")
    if network.ipv6 and 0 < options.mtu < model.IPV6_LEAST_MTU:
        raise InvalidParameter(
            f"IPv6 needs packets of {model.IPV6_LEAST_MTU} bytes: {model.MTU} is {options.mtu}"
        )
    link = options.name or f"br-{network.id[:12]}"
    for other in around.present:
        if other.driver == "bridge" and other.link == link:
            raise Forbidden(
                f"cannot create network {network.id} ({link}): conflicts with network {other.id} "
                f"({other.link}): networks have same bridge name"
            )
    found = _allocate(network, subnets, around, without_gateway=isolated)
    for version in (4, 6):
        if sum(1 for subnet in found if subnet.prefix.version == version) > 1:
            raise InvalidParameter("bridge driver doesn't support multiple subnets")
    for subnet in found:
        if subnet.prefix.version == 6:
            _check_ipv6_subnet(subnet.prefix)
    return msgspec.structs.replace(
        network, subnets=found, link=link, owns_link=link not in around.links
    )


def _macvlan(network: Network, subnets: Sequence[SubnetRequest], around: Surroundings) -> Network:
    options = parse_macvlan_options(network.options)
    parent = options.parent or own_parent("macvlan", network.id)
    check_sharing(parent, options.mode, around.present)
    # Without a parent it leads nowhere else, whatever was said.
    has_gateway = bool(options.parent) and not network.internal
    return _on_parent(network, subnets, around, parent=parent, has_gateway=has_gateway)


def _ipvlan(network: Network, subnets: Sequence[SubnetRequest], around: Surroundings) -> Network:
    options = parse_ipvlan_options(network.options)
    parent = options.parent or own_parent("ipvlan", network.id)
    check_alone(parent, around.present)
    has_gateway = bool(options.parent) and not network.internal and not options.is_routed
    return _on_parent(network, subnets, around, parent=parent, has_gateway=has_gateway)


def _on_parent(
    network: Network,
    subnets: Sequence[SubnetRequest],
    around: Surroundings,
    *,
    parent: str,
    has_gateway: bool,
) -> Network:
    without = {4: not has_gateway, 6: not has_gateway}
    found = _allocate(network, subnets, around, without_gateway=without)
    made_before = any(n.link == parent and n.owns_link for n in around.present)
    return msgspec.structs.replace(
        network,
        subnets=found,
        link=parent,
        owns_link=made_before or parent not in around.links,
    )


def _allocate(
    network: Network,
    subnets: Sequence[SubnetRequest],
    around: Surroundings,
    *,
    without_gateway: Mapping[int, bool],
) -> list[Subnet]:
    found: list[Subnet] = []
    for version, is_on in ((4, network.ipv4), (6, network.ipv6)):
        if is_on:
            found += allocate(
                subnets,
                version,
                pools=around.pools,
                present=around.prefixes,
                routes=around.routes,
                needs_gateway=not without_gateway[version],
            )
    return found


def _check_ipv6_subnet(prefix: Prefix) -> None:
    local = ip_network("fe80::/64")
    if prefix.is_multicast:
        raise InvalidParameter(f"multicast subnet '{prefix}' is not allowed")
    if prefix != local and prefix.overlaps(local):
        raise InvalidParameter(f"'{prefix}' clashes with the Link-Local prefix 'fe80::/64'")


PLANNERS: Final = MappingProxyType({"bridge": _bridge, "macvlan": _macvlan, "ipvlan": _ipvlan})
"""By the drivers that networks can be made of."""
