"""From a request to a network: everything is decided here, and nothing is made. Pure.

Source: moby, daemon/network.go (createNetwork), daemon/libnetwork/controller.go (NewNetwork),
daemon/libnetwork/network.go (validateConfiguration, applyConfigurationTo).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from services.errors import Forbidden, InvalidParameter, NotFound, NotSupported
from services.networks import model
from services.networks.ipam.request import SubnetRequest, check_subnets
from services.networks.model import Network, Stage, Subnet
from services.networks.planning.bridge_options import parse_truth
from services.networks.planning.drivers import PLANNERS
from services.networks.planning.request import NetworkRequest, Surroundings


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
    return PLANNERS[driver](network, request.subnets, around)


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
    if driver not in PLANNERS:
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
