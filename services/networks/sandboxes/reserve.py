"""What a container gets in one network: decided here, without a system call."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any

from services.errors import Forbidden, InvalidParameter
from services.networks.endpoints import (
    Endpoint,
    EndpointRequest,
    checked_mac,
    free_interface,
    mac_of,
)
from services.networks.firewall.network_rules import GatewayMode
from services.networks.ipam.addresses import AddressPool, NetworkAddresses
from services.networks.model import Address, Network
from services.networks.overlay.values import DRIVER as OVERLAY
from services.networks.overlay.values import overlay_mtu
from services.networks.planning.bridge_options import parse_bridge_options
from services.networks.planning.default_bridge import default_gateway
from services.networks.planning.ipvlan_options import parse_ipvlan_options
from services.networks.planning.parents import DUMMY_PREFIXES, PARENT

WITHOUT_LINKS = frozenset(("host", "null"))
"""The drivers whose networks give a container no link."""


def take_endpoint(
    network: Network,
    addresses: NetworkAddresses,
    request: EndpointRequest,
    *,
    interfaces: Collection[str],
    owner: str = "",
) -> Endpoint:
    """Take addresses and a name for a container's link. `interfaces` are those of its other ones.

    `owner`, the container's id, gets what it had before, if it wants nothing else.

    Raises:
        InvalidParameter, Forbidden: what was asked for cannot be had.
        EngineError: no address is left.
    """
    if network.config_only:
        raise Forbidden(
            f"network {network.name} is a configuration network: no container can be in it"
        )
    mac = checked_mac(request.mac_address)
    if network.driver in WITHOUT_LINKS:
        return Endpoint(
            network=network.name,
            network_id=network.id,
            endpoint_id=secrets.token_hex(32),
            driver=network.driver,
        )
    if mac and network.driver == "ipvlan":
        raise InvalidParameter("ipvlan interfaces do not support custom mac address assignment")
    if network.driver == OVERLAY:
        _check_overlay(network, request, mac)
    interface = _interface(network, request.interface, interfaces)
    extra = tuple(_link_local(text) for text in request.link_local)
    wanted4 = parse_address(request.address, 4)
    wanted6 = parse_address(request.address6, 6)
    _check_versions(network, wanted4, wanted6)
    leads_out = leads_outside(network)
    is_routed = _is_routed(network)
    taken: list[tuple[Address, AddressPool]] = []
    try:
        for version, is_on, wanted in ((4, network.ipv4, wanted4), (6, network.ipv6, wanted6)):
            if is_on:
                taken.append(addresses.take(version, wanted, owner=owner))
        given = [address for address, _ in taken]
        if not mac and network.driver != "ipvlan":  # which has its parent's
            mac = _made_up_mac(given)
        return Endpoint(
            network=network.name,
            network_id=network.id,
            endpoint_id=secrets.token_hex(32),
            driver=network.driver,
            mac_address=mac,
            interface=interface,
            gateway_priority=request.gateway_priority,
            extra=extra,
            sysctls=request.sysctls,
            is_routed=leads_out and is_routed,
            **_address_fields(network, taken, with_gateways=leads_out and not is_routed),
        )
    except BaseException:
        for address, _ in taken:
            addresses.give_back(address)
        raise


def _address_fields(
    network: Network, taken: Iterable[tuple[Address, AddressPool]], *, with_gateways: bool
) -> dict[str, Any]:
    """An endpoint's fields that each version of IP has."""
    fields: dict[str, Any] = {}
    for address, pool in taken:
        version, suffix = address.version, "" if address.version == 4 else "6"
        fields |= {
            f"address{suffix}": str(address),
            f"prefix_length{suffix}": pool.subnet.prefixlen,
            f"gateway{suffix}": _gateway(network, version, address) if with_gateways else "",
        }
    return fields


def give_back(addresses: NetworkAddresses, endpoint: Endpoint) -> None:
    """Let others have an endpoint's addresses."""
    for text in (endpoint.address, endpoint.address6):
        if text:
            addresses.give_back(ip_address(text))


def leads_outside(network: Network) -> bool:
    """Whether a network can be a container's way to everywhere else."""
    if network.driver == OVERLAY:
        return False
    if network.driver in DUMMY_PREFIXES and not network.options.get(PARENT):
        return False
    return not network.internal


def parse_address(text: str, version: int) -> Address | None:
    """An address of one version; None for "".

    Raises:
        InvalidParameter: it is none; dockerd's text.
    """
    if not text:
        return None
    try:
        return IPv4Address(text) if version == 4 else IPv6Address(text)
    except ValueError:
        raise InvalidParameter(f"invalid IPv{version} address: {text}") from None


def link_mtu_of(network: Network, parent_mtu: int) -> int:
    """How large the packets of a network's links are; 0: as the kernel has it."""
    if network.driver == "bridge":
        return parse_bridge_options(network.options).mtu or parent_mtu
    return overlay_mtu(network.options) if network.driver == OVERLAY else parent_mtu


def _check_overlay(network: Network, request: EndpointRequest, mac: str) -> None:
    """Addresses are the managers' to give, and other nodes derive the MAC address from them."""
    if not request.address:
        raise InvalidParameter(
            f"network {network.name} spans nodes: its managers have given no address for it"
        )
    if mac and mac != mac_of(IPv4Address(request.address)):
        raise InvalidParameter(
            f"network {network.name} spans nodes: a MAC address cannot be chosen in it"
        )


def _is_routed(network: Network) -> bool:
    return network.driver == "ipvlan" and parse_ipvlan_options(network.options).is_routed


def _gateway(network: Network, version: int, address: Address) -> str:
    """What everything else is sent through: an address of the subnet that the container is in."""
    if network.driver == "bridge":
        options = parse_bridge_options(network.options)
        mode = options.gateway_mode_ipv4 if version == 4 else options.gateway_mode_ipv6
        if GatewayMode(mode) is GatewayMode.ISOLATED:
            return ""
    for subnet in network.subnets:
        if address in subnet.prefix:
            return default_gateway(subnet)
    return ""


def _check_versions(network: Network, wanted4: Address | None, wanted6: Address | None) -> None:
    for version, is_on, wanted in ((4, network.ipv4, wanted4), (6, network.ipv6, wanted6)):
        if wanted is not None and not is_on:
            raise InvalidParameter(
                f"invalid endpoint settings:\nnetwork {network.name} has no IPv{version}: the "
                f"address {wanted} cannot be had"
            )


def _interface(network: Network, wanted: str, present: Collection[str]) -> str:
    if not wanted:
        prefix = "eth"
        if network.driver == "bridge":
            prefix = parse_bridge_options(network.options).interface_prefix
        return free_interface(prefix, present)
    if wanted in present:
        raise Forbidden(f"an interface named {wanted} is there already")
    return wanted


def _made_up_mac(addresses: Collection[Address]) -> str:
    for address in addresses:
        if isinstance(address, IPv4Address):
            return mac_of(address)
    return (b"\x02\x42" + secrets.token_bytes(4)).hex(":")


def _link_local(text: str) -> str:
    try:
        address = ip_interface(text)
    except ValueError:
        raise InvalidParameter(f"invalid link-local IP address: {text}") from None
    if address.network.prefixlen == address.max_prefixlen:
        return f"{address.ip}/{16 if address.version == 4 else 64}"
    return str(address)
