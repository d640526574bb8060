"""Networks on the wire.

Source: Engine API, schemas NetworkSummary, NetworkInspect, NetworkCreateRequest,
NetworkConnectRequest, NetworkDisconnectRequest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from services.api.types.times import NEVER, rfc3339_nano
from services.containers import Container
from services.containers.config import EndpointSettings, Wire
from services.networks import Network, NetworkRequest, SubnetRequest
from services.networks.ipam.addresses import NetworkAddresses
from services.networks.model import Subnet

MOST = 2**64 - 1
"""dockerd counts addresses up to here."""


class IpamConfigBody(Wire, frozen=True, kw_only=True):
    """One subnet of a request."""

    subnet: str = ""
    ip_range: str = msgspec.field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IpamBody(Wire, frozen=True, kw_only=True):
    """How a network's addresses are to be managed."""

    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IpamConfigBody] | None = None


class ConfigReference(Wire, frozen=True, kw_only=True):
    """A configuration network, by its name."""

    network: str = ""


class NetworkCreateBody(Wire, frozen=True, kw_only=True):
    """The body of POST /networks/create. `check_duplicate` changes nothing: names are unique."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    ipam: IpamBody | None = msgspec.field(name="IPAM", default=None)
    enable_ipv4: bool | None = msgspec.field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = msgspec.field(name="EnableIPv6", default=None)
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None

    def request(self) -> NetworkRequest:
        """The same, for the networks service."""
        ipam = self.ipam or IpamBody()
        return NetworkRequest(
            name=self.name,
            driver=self.driver,
            scope=self.scope,
            internal=self.internal,
            attachable=self.attachable,
            ingress=self.ingress,
            config_only=self.config_only,
            config_from=self.config_from.network if self.config_from else "",
            ipv4=self.enable_ipv4,
            ipv6=self.enable_ipv6,
            ipam_driver=ipam.driver,
            ipam_options=ipam.options,
            subnets=tuple(
                SubnetRequest(
                    subnet=one.subnet,
                    ip_range=one.ip_range,
                    gateway=one.gateway,
                    auxiliary=one.auxiliary_addresses or {},
                )
                for one in ipam.config or ()
            ),
            options=self.options or {},
            labels=self.labels or {},
        )


class ConnectBody(Wire, frozen=True, kw_only=True):
    """The body of POST /networks/{id}/connect."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class DisconnectBody(Wire, frozen=True, kw_only=True):
    """The body of POST /networks/{id}/disconnect."""

    container: str = ""
    force: bool = False


def network_to_wire(network: Network) -> dict[str, Any]:
    """One element of GET /networks."""
    created = network.created_at_ns
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339_nano(created) if created else NEVER,
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options,
            "Config": [_subnet_to_wire(subnet) for subnet in network.subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Options": network.options,
        "Labels": network.labels,
    }


def members_to_wire(network: Network, containers: Iterable[Container]) -> dict[str, Any]:
    """`Containers` of an inspected network: those that are in it now."""
    members: dict[str, Any] = {}
    for container in containers:
        endpoint = container.status.networks.get(network.name) if container.state.has_task else None
        if endpoint is not None and endpoint.network_id == network.id:
            members[container.id] = {
                "Name": container.name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac_address,
                "IPv4Address": _with_length(endpoint.ip_address, endpoint.ip_prefix_len),
                "IPv6Address": _with_length(
                    endpoint.global_ipv6_address, endpoint.global_ipv6_prefix_len
                ),
            }
    return members


def status_to_wire(addresses: NetworkAddresses) -> dict[str, Any]:
    """`Status` of an inspected network: how many addresses are in use."""
    subnets: Mapping[str, Any] = {
        str(pool.subnet): {
            "IPsInUse": min(pool.in_use, MOST),
            "DynamicIPsAvailable": min(pool.available, MOST),
        }
        for pool in addresses.pools
    }
    return {"IPAM": {"Subnets": subnets}}


def _with_length(address: str, length: int) -> str:
    return f"{address}/{length}" if address else ""


def _subnet_to_wire(subnet: Subnet) -> dict[str, Any]:
    wire: dict[str, Any] = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        wire["IPRange"] = subnet.ip_range
    if subnet.gateway:
        wire["Gateway"] = subnet.gateway
    if subnet.auxiliary:
        wire["AuxiliaryAddresses"] = subnet.auxiliary
    return wire
