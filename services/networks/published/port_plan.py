"""Which addresses of the host a container's ports get, and who leads them. Rules without effect.

Source: moby, daemon/libnetwork/drivers/bridge/port_mapping_linux.go, for what the binding of an
unnamed address is in each family.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from services.networks.firewall.network_rules import PortTargets, Target
from services.networks.ports import (
    ANY_ADDRESS,
    ANY_ADDRESS_6,
    PortGroup,
    PortRequest,
    PublishedPort,
)

LOOPBACK_6: Final = "::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMeans:
    """What there is to lead ports with."""

    has_firewall: bool = True  # for IPv4, and
    has_firewall6: bool = True  # for IPv6
    has_proxy: bool = True
    has_ipv6: bool = True  # on the host


def port_groups(
    requests: Iterable[PortRequest],
    targets: PortTargets,
    means: PortMeans,
    default_address: str = ANY_ADDRESS,
) -> list[PortGroup]:
    """The addresses of each port; ports that differ in nothing else share their number.

    `default_address` is the network's for those that name none; 0.0.0.0 stands for `::` as well.
    A family that nothing can be led in has none: what names its address is left out, as in
    dockerd, since another network of the container's may have it. A routed one has none either.
    """
    groups: dict[tuple[str, int, int, int], dict[str, None]] = {}
    for request in requests:
        key = (request.protocol, request.container_port, request.first, request.last)
        for address in _addresses(request, means, default_address):
            if not _is_routed(address, targets) and _can_be_led(
                request.protocol, address, targets, means
            ):
                groups.setdefault(key, {})[address] = None
    return [
        PortGroup(
            protocol=protocol,
            container_port=container_port,
            host_addresses=tuple(addresses),
            first=first,
            last=last,
        )
        for (protocol, container_port, first, last), addresses in groups.items()
    ]


def routed_ports(
    requests: Iterable[PortRequest],
    targets: PortTargets,
    means: PortMeans,
    default_address: str = ANY_ADDRESS,
) -> list[PublishedPort]:
    """The ports that are open at the container's own address; the host's end is not asked for."""
    found = {
        PublishedPort(
            protocol=request.protocol,
            container_port=request.container_port,
            host_address=ANY_ADDRESS_6 if _version(address) == 6 else ANY_ADDRESS,
            host_port=0,
        ): None
        for request in requests
        for address in _addresses(request, means, default_address)
        if _is_routed(address, targets)
    }
    return list(found)


def _addresses(request: PortRequest, means: PortMeans, default_address: str) -> Sequence[str]:
    if request.host_address:
        return [request.host_address]
    if default_address == ANY_ADDRESS and means.has_ipv6:
        return [ANY_ADDRESS, ANY_ADDRESS_6]
    return [default_address]


def _is_routed(address: str, targets: PortTargets) -> bool:
    target = targets.ipv6 if _version(address) == 6 else targets.ipv4
    return target is not None and target.is_routed


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _can_be_led(protocol: str, address: str, targets: PortTargets, means: PortMeans) -> bool:
    port = PublishedPort(protocol=protocol, container_port=0, host_address=address, host_port=1)
    target = targets.ipv6 if port.is_ipv6 else targets.ipv4
    by_kernel = (
        _has_firewall(means, is_ipv6=port.is_ipv6)
        and target is not None
        and not _is_loopback_6(address)
    )
    return by_kernel or is_proxied(port, targets, means)


def is_proxied(port: PublishedPort, targets: PortTargets, means: PortMeans) -> bool:
    """Whether the userland proxy is to listen: there is traffic that the kernel cannot lead."""
    if not means.has_proxy or port.protocol == "sctp" or port.host_port == 0:
        return False
    if proxy_target(port, targets) is None:
        return False
    if not _has_firewall(means, is_ipv6=port.is_ipv6):
        return True
    return port.is_ipv6 and (
        targets.ipv6 is None or port.host_address == ANY_ADDRESS_6 or _is_local(port.host_address)
    )


def proxy_target(port: PublishedPort, targets: PortTargets) -> Target | None:
    """Where the proxy carries a port: to the same family if it can."""
    return (targets.ipv6 or targets.ipv4) if port.is_ipv6 else targets.ipv4


def _has_firewall(means: PortMeans, *, is_ipv6: bool) -> bool:
    return means.has_firewall6 if is_ipv6 else means.has_firewall


def _is_loopback_6(address: str) -> bool:
    return address == LOOPBACK_6


def _is_local(address: str) -> bool:
    """Addresses that mean nothing beyond their link: nothing from there can be forwarded."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    return parsed.version == 6 and (parsed.is_loopback or parsed.is_link_local)
