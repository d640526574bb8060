"""Networks on the wire. Source: Engine API, schemas NetworkSummary, NetworkInspect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from types import MappingProxyType
from typing import Any, Final

from services.api.types.times import NEVER
from services.containers import Container

_DRIVERS: Final = MappingProxyType({"bridge": "bridge", "host": "host", "none": "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOnHost:
    """The default bridge. Its own address, with its subnet, is None until it is up."""

    name: str  # of the link
    address: IPv4Interface | None
    mtu: int
    masquerade: bool


def network_to_wire(name: str, network_id: str, bridge: BridgeOnHost | None) -> dict[str, Any]:
    """One element of GET /networks; `bridge` is for the network of that name alone."""
    is_bridge = bridge is not None
    return {
        "Name": name,
        "Id": network_id,
        "Created": NEVER,  # predefined: it has always been there
        "Scope": "local",
        "Driver": _DRIVERS[name],
        "EnableIPv4": is_bridge,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": _subnets(bridge)},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": _options(bridge),
        "Labels": {},
    }


def members_to_wire(name: str, containers: Iterable[Container]) -> dict[str, Any]:
    """`Containers` of an inspected network: those that are in it now."""
    members: dict[str, Any] = {}
    for container in containers:
        endpoint = container.status.networks.get(name) if container.state.has_task else None
        if endpoint is not None:
            address = f"{endpoint.ip_address}/{endpoint.ip_prefix_len}"
            members[container.id] = {
                "Name": container.name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac_address,
                "IPv4Address": address if endpoint.ip_address else "",
                "IPv6Address": "",
            }
    return members


def _subnets(bridge: BridgeOnHost | None) -> list[dict[str, str]]:
    if bridge is None or bridge.address is None:
        return []
    return [{"Subnet": str(bridge.address.network), "Gateway": str(bridge.address.ip)}]


def _options(bridge: BridgeOnHost | None) -> dict[str, str]:
    if bridge is None:
        return {}
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": str(bridge.masquerade).lower(),
        "com.docker.network.bridge.name": bridge.name,
        "com.docker.network.driver.mtu": str(bridge.mtu),
    }
