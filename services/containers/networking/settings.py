"""Containers' settings for networks: what a request may ask, and the records that come of it.

Source: moby, daemon/container_operations.go (validateEndpointSettings, buildEndpointDNSNames).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final, Protocol

import msgspec

from services.containers.config import EndpointIPAMConfig, EndpointSettings, NetworkingConfig
from services.containers.labels import task_id_of
from services.containers.model import SHORT_ID, Definition, Place, Status
from services.containers.networking.links import parse_link
from services.containers.spec.modes import shared_container
from services.errors import InvalidParameter, NotFound
from services.networks import Endpoint, EndpointRequest, Network
from services.networks.endpoints import checked_mac
from services.networks.model import GATEWAY_BRIDGE

SYSCTLS: Final = "com.docker.network.endpoint.sysctls"
IFNAME: Final = "com.docker.network.endpoint.ifname"
PREDEFINED: Final = frozenset(("bridge", "host", "none", "default"))
_IFNAME: Final = re.compile(r"[^\s/:%]{1,15}\Z")


class NetworkNames(Protocol):
    """What is needed of the networks service."""

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""


def check_networking(
    networking: NetworkingConfig, mode: str, networks: NetworkNames
) -> dict[str, EndpointSettings]:
    """The endpoints that were asked for, by network name; at least that of the network mode.

    None for a container in the network of another one, which has no place of its own there. A
    network that is not there yet may be by the start.

    Raises:
        InvalidParameter: settings that no container can have.
    """
    if shared_container(mode) is not None:
        return {}
    endpoints: dict[str, EndpointSettings] = {}
    for name, settings in networking.endpoints_config.items():
        # "default" is what clients call the network that the mode stands for.
        network = _find(mode if name == "default" else name, networks)
        key = network.name if network else (mode if name == "default" else name)
        endpoints[key] = settings or EndpointSettings()
        check_endpoint(key, endpoints[key], network)
    if endpoints:
        return endpoints
    network = _find(mode, networks)
    return {network.name if network else mode: EndpointSettings()}


def check_endpoint(name: str, settings: EndpointSettings, network: Network | None) -> None:
    """Refuse settings that cannot be in this network; None: what it is like is not known yet.

    Raises:
        InvalidParameter: dockerd's text.
    """
    ipam = settings.ipam_config or EndpointIPAMConfig()
    problems: list[str] = []
    if name in PREDEFINED:
        if ipam.ipv4_address or ipam.ipv6_address:
            problems.append("user specified IP address is supported on user defined networks only")
        if settings.aliases:
            problems.append(
                "network-scoped alias is supported only for containers in user defined networks"
            )
    for version, text in ((4, ipam.ipv4_address), (6, ipam.ipv6_address)):
        if text and not _is_address(text, version):
            problems.append(f"invalid IPv{version} address: {text}")
        elif text and network is not None:
            problems += _problems_of_address(text, version, network)
    for text in ipam.link_local_ips or ():
        if not (_is_address(text, 4) or _is_address(text, 6)):
            problems.append(f"invalid link-local IP address: {text}")
    if settings.mac_address:
        try:
            checked_mac(settings.mac_address)
        except InvalidParameter:
            raise InvalidParameter(
                f"invalid endpoint settings:\ninvalid MAC address {settings.mac_address}"
            ) from None
    problems += _problems_of_options(settings.driver_opts or {})
    if problems:
        raise InvalidParameter("invalid endpoint settings:\n" + "\n".join(problems))
    for link in settings.links or ():
        parse_link(link)


def endpoint_request(name: str, settings: EndpointSettings) -> EndpointRequest:
    """What a container asks of one network."""
    ipam = settings.ipam_config or EndpointIPAMConfig()
    options = settings.driver_opts or {}
    sysctls = options.get(SYSCTLS, "")
    return EndpointRequest(
        network=name,
        address=ipam.ipv4_address,
        address6=ipam.ipv6_address,
        link_local=tuple(ipam.link_local_ips or ()),
        mac_address=settings.mac_address,
        gateway_priority=settings.gw_priority,
        interface=options.get(IFNAME, ""),
        sysctls=tuple(sysctls.split(",")) if sysctls else (),
    )


def named_request(
    network: str, definition: Definition, settings: EndpointSettings
) -> EndpointRequest:
    """What a container asks of one network, with what others there are to call it."""
    names = tuple(dns_names(definition, settings))
    return replace(endpoint_request(network, settings), names=names)


def wanted_endpoints(definition: Definition, networks: NetworkNames) -> list[EndpointRequest]:
    """What a container that is about to start asks for; that of its network mode first."""
    if definition.config.network_disabled is True:
        return [EndpointRequest(network="none")]
    mode = definition.host_config.network_mode
    network = _find(mode, networks)
    main = network.name if network else mode
    names = sorted(definition.networks, key=lambda name: (name != main, name))
    # Addresses of a task's container are given by the managers.
    is_task = bool(task_id_of(definition.name, definition.config.labels))
    return [
        replace(named_request(name, definition, definition.networks[name]), is_given=is_task)
        for name in names
    ]


def settings_of(asked: EndpointSettings, endpoint: Endpoint) -> EndpointSettings:
    """What was asked of a network, with what came of it."""
    return msgspec.structs.replace(
        asked,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.endpoint_id,
        gateway=endpoint.gateway,
        ip_address=endpoint.address,
        ip_prefix_len=endpoint.prefix_length,
        ipv6_gateway=endpoint.gateway6,
        global_ipv6_address=endpoint.address6,
        global_ipv6_prefix_len=endpoint.prefix_length6,
        mac_address=endpoint.mac_address,
    )


def settings_by_network(
    definition: Definition, endpoints: Iterable[Endpoint]
) -> tuple[dict[str, EndpointSettings], dict[str, Place]]:
    """What was asked of the networks, with what came of it; and by what links."""
    endpoints = list(endpoints)
    settings = {
        one.network: settings_of(definition.networks.get(one.network, EndpointSettings()), one)
        for one in endpoints
    }
    return settings, {one.network: place_of(one) for one in endpoints}


def networks_in_sight(definition: Definition, status: Status) -> dict[str, EndpointSettings]:
    """What users see of a container's networks: the present run's, or else what was asked of each.

    A network that the last run was in keeps its id, also when it is gone. Source: moby,
    daemon/container_operations.go, cleanOperationalData. Its way out of networks that span nodes is
    not among them, unless it was asked for.
    """
    asked = {
        name: msgspec.structs.replace(settings, network_id=status.network_ids.get(name, ""))
        for name, settings in definition.networks.items()
    }
    shown = {n: s for n, s in status.networks.items() if n != GATEWAY_BRIDGE or n in asked}
    return {**asked, **shown}


def ids_of(settings: Mapping[str, EndpointSettings]) -> dict[str, str]:
    """The ids of these networks, by name."""
    return {name: one.network_id for name, one in settings.items()}


def place_of(endpoint: Endpoint) -> Place:
    """What the settings do not tell of an endpoint."""
    return Place(driver=endpoint.driver, interface=endpoint.interface, is_routed=endpoint.is_routed)


def endpoint_of(name: str, settings: EndpointSettings, place: Place) -> Endpoint:
    """The endpoint that a record tells of."""
    return Endpoint(
        network=name,
        network_id=settings.network_id,
        endpoint_id=settings.endpoint_id,
        driver=place.driver,
        address=settings.ip_address,
        prefix_length=settings.ip_prefix_len,
        gateway=settings.gateway,
        address6=settings.global_ipv6_address,
        prefix_length6=settings.global_ipv6_prefix_len,
        gateway6=settings.ipv6_gateway,
        mac_address=settings.mac_address,
        interface=place.interface,
        gateway_priority=settings.gw_priority,
        is_routed=place.is_routed,
    )


def endpoints_of(
    settings: Mapping[str, EndpointSettings], places: Mapping[str, Place]
) -> list[Endpoint]:
    """The endpoints that a container's records tell of."""
    return [endpoint_of(name, one, places.get(name, Place())) for name, one in settings.items()]


def dns_names(definition: Definition, settings: EndpointSettings) -> list[str]:
    """What others in a user-defined network call a container; the first is its own name."""
    names = (
        definition.name,
        *(settings.aliases or ()),
        definition.id[:SHORT_ID],
        definition.config.hostname,
    )
    return list(dict.fromkeys(name for name in names if name))


def _find(ref: str, networks: NetworkNames) -> Network | None:
    try:
        return networks.find(ref)
    except (NotFound, InvalidParameter):
        return None


def _is_address(text: str, version: int) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address.version == version and not address.is_unspecified


def _problems_of_address(text: str, version: int, network: Network) -> list[str]:
    """An address can be asked for only where the user has named the subnet."""
    if network.is_predefined:
        return []
    named = [subnet for subnet in network.of_version(version) if not subnet.is_chosen]
    if not named:
        return [
            "user specified IP address is supported only when connecting to networks with user "
            "configured subnets"
        ]
    if not any(ip_address(text) in ip_network(subnet.subnet) for subnet in named):
        return [f"no configured subnet or ip-range contain the IP address {text}"]
    return []


def _problems_of_options(options: Mapping[str, str]) -> list[str]:
    problems = []
    for text in options.get(SYSCTLS, "").split(",") if SYSCTLS in options else ():
        parts = text.partition("=")[0].split(".", 4)
        fits = (
            len(parts) == 5
            and parts[0] == "net"
            and parts[1] in ("ipv4", "ipv6", "mpls")
            and parts[3] in ("IFNAME", "ifname")
            and not {"", ".", ".."} & set(text.partition("=")[0].replace("/", ".").split("."))
            and "/" not in text.partition("=")[0]
            and "=" in text
        )
        if not fits:
            problems.append(
                f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
    name = options.get(IFNAME, "eth0")
    if not _IFNAME.match(name) or name in (".", "..", "lo", "all", "default"):
        problems.append(f"invalid interface name: {name}")
    return problems
