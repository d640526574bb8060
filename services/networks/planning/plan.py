"""From a request to a network: everything is decided here, and nothing is made. Pure.

Source: moby, daemon/network.go (createNetwork), daemon/libnetwork/controller.go (NewNetwork),
daemon/libnetwork/network.go (validateConfiguration, applyConfigurationTo).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

import msgspec

from services.errors import Forbidden, InvalidParameter, NotFound, NotSupported
from services.networks import model
from services.networks.ipam.pools import Pool
from services.networks.ipam.request import SubnetRequest, allocate, check_subnets
from services.networks.model import Network, Prefix, Stage, Subnet
from services.networks.planning.bridge_options import parse_bridge_options, parse_truth
from services.networks.planning.ipvlan_options import check_alone, parse_ipvlan_options
from services.networks.planning.macvlan_options import check_sharing, parse_macvlan_options
from services.networks.planning.parents import own_parent


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """What POST /networks/create asks for. None: nothing was said."""

    name: str
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipv4: bool | None = None
    ipv6: bool | None = None
    ipam_driver: str = ""
    ipam_options: Mapping[str, str] | None = None
    subnets: tuple[SubnetRequest, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a new network must agree with.

    `default_options` are the daemon's for new networks, by driver.
    """

    present: Sequence[Network]
    pools: Sequence[Pool]
    routes: Sequence[Prefix]
    default_options: Mapping[str, Mapping[str, str]]
    links: Collection[str] = ()
    unusable_drivers: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefixes(self) -> list[Prefix]:
        """The subnets of all networks that have addresses."""
        return [
            subnet.prefix
            for network in self.present
            if not network.config_only
            for subnet in network.subnets
        ]


def plan_network(
    request: NetworkRequest, around: Surroundings, *, network_id: str, now_ns: int
) -> Network:
    """The network that a request asks for, in the stage of its making.

    Raises:
        InvalidParameter, Forbidden, NotFound, Conflict, EngineError: it cannot be; dockerd's text.
        NotSupported: this host cannot have networks of the driver.
    """
    _check_name(request.name)
    driver = request.driver or "bridge"
    _check_driver(driver, around)
    _check_scope(request)
    request = _with_config_from(request, around.present)
    options = dict(request.options)
    if not request.config_from:
        options = {**around.default_options.get(driver, {}), **options}
    ipv4 = _family(request.ipv4, options, model.OPTION_IPV4, default=True)
    ipv6 = _family(request.ipv6, options, model.OPTION_IPV6, default=False)
    check_subnets(request.subnets, ipv6=ipv6)
    network = Network(
        id=network_id,
        name=request.name,
        driver=driver,
        created_at_ns=now_ns,
        ipv4=ipv4,
        ipv6=ipv6,
        internal=request.internal,
        attachable=request.attachable,
        config_only=request.config_only,
        config_from=request.config_from,
        options=options,
        labels=dict(request.labels),
        ipam_driver=request.ipam_driver or "default",
        ipam_options=None if request.ipam_options is None else dict(request.ipam_options),
        stage=Stage.MAKING,
    )
    if request.config_only:
        subnets = [_as_asked(subnet) for subnet in request.subnets]
        return msgspec.structs.replace(network, driver="null", subnets=subnets)
    if request.ipam_driver not in ("", "default"):
        raise NotFound(f'plugin "{request.ipam_driver}" not found')
    return _PLANNERS[driver](network, request.subnets, around)


def _check_name(name: str) -> None:
    if name in (*model.PREDEFINED, "default") or name.startswith("container:"):
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    if not name.strip():
        raise InvalidParameter("invalid name: name is empty")


def _check_driver(driver: str, around: Surroundings) -> None:
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
            "connect this node to swarm and try again."
        )
    if driver in around.unusable_drivers:
        raise NotSupported(around.unusable_drivers[driver])
    if driver not in _PLANNERS:
        raise NotFound(f'plugin "{driver}" not found')


def _check_scope(request: NetworkRequest) -> None:
    if request.config_only:
        if request.internal or request.attachable or request.ingress or request.scope:
            raise Forbidden(
                "configuration network can only contain network specific fields. Network operator "
                "fields like [ ingress | internal | attachable | scope ] are not supported."
            )
        if request.config_from:
            raise Forbidden(
                "a configuration network cannot depend on another configuration network"
            )
    if request.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if request.scope == "swarm":
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if request.scope not in ("", "local"):
        raise InvalidParameter(f"invalid scope: {request.scope}")


def _with_config_from(request: NetworkRequest, present: Iterable[Network]) -> NetworkRequest:
    """The request with the settings of the configuration network that it names."""
    if not request.config_from:
        return request
    has_own = (
        request.ipam_driver not in ("", "default")
        or request.ipam_options
        or request.subnets
        or request.ipv6
        or request.options
        or request.labels
    )
    if has_own:
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a "
            "configuration network"
        )
    found = [n for n in present if n.config_only and n.name == request.config_from]
    if not found:
        raise NotFound(f'configuration network "{request.config_from}" does not exist')
    source = found[0]
    return replace(
        request,
        ipv4=source.ipv4,
        ipv6=source.ipv6,
        ipam_driver=source.ipam_driver,
        ipam_options=source.ipam_options,
        subnets=tuple(
            SubnetRequest(
                subnet=subnet.subnet,
                ip_range=subnet.ip_range,
                gateway=subnet.gateway,
                auxiliary=subnet.auxiliary,
            )
            for subnet in source.subnets
        ),
        options=source.options,
        labels=source.labels,
    )


def _family(asked: bool | None, options: dict[str, str], label: str, *, default: bool) -> bool:
    """Whether a network has IPv4 or IPv6; an option is a second way of saying so."""
    if asked is not None:
        options.pop(label, None)
        return asked
    if label not in options:
        return default
    try:
        return parse_truth(options[label])
    except ValueError:
        raise InvalidParameter(f'driver-opt "{label}" is not a valid bool') from None


def _as_asked(request: SubnetRequest) -> Subnet:
    return Subnet(
        subnet=request.subnet,
        ip_range=request.ip_range,
        gateway=request.gateway,
        auxiliary=dict(request.auxiliary),
    )


def _plan_bridge(
    network: Network, subnets: Sequence[SubnetRequest], around: Surroundings
) -> Network:
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


def _plan_macvlan(
    network: Network, subnets: Sequence[SubnetRequest], around: Surroundings
) -> Network:
    options = parse_macvlan_options(network.options)
    parent = options.parent or own_parent("macvlan", network.id)
    check_sharing(parent, options.mode, around.present)
    # Without a parent it leads nowhere else, whatever was said.
    has_gateway = bool(options.parent) and not network.internal
    return _on_parent(network, subnets, around, parent=parent, has_gateway=has_gateway)


def _plan_ipvlan(
    network: Network, subnets: Sequence[SubnetRequest], around: Surroundings
) -> Network:
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


_PLANNERS: Final = MappingProxyType(
    {"bridge": _plan_bridge, "macvlan": _plan_macvlan, "ipvlan": _plan_ipvlan}
)
"""By the drivers that networks can be made of."""
