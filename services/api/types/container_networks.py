"""Containers' networks and ports on the wire: schemas PortSummary, PortMap, NetworkSettings."""

from __future__ import annotations

from typing import Any

import msgspec

from services.containers import Container
from services.containers.config import EndpointSettings
from services.containers.networking.published import shown_ports
from services.containers.networking.settings import PREDEFINED, dns_names, networks_in_sight
from services.networks import PublishedPort


def summary_ports(container: Container) -> list[dict[str, Any]]:
    """Schema PortSummary, of a summary: a member for each host port, or one without."""
    wire: list[dict[str, Any]] = []
    for key, published in sorted(shown_ports(container).items(), key=_port_order):
        number, _, protocol = key.partition("/")
        ends = [_host_end(port) for port in published] or [{}]
        wire += [{"PrivatePort": int(number), "Type": protocol, **end} for end in ends]
    return wire


def _host_end(port: PublishedPort) -> dict[str, object]:
    """One that is open at the container's own address alone has no number on the host."""
    number = {"PublicPort": port.host_port} if port.host_port else {}
    return {"IP": port.host_address, **number}


def port_map(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """Schema PortMap, of an inspect: null for what is exposed and not published."""
    return {
        key: [{"HostIp": p.host_address, "HostPort": str(p.host_port or "")} for p in ports] or None
        for key, ports in shown_ports(container).items()
    }


def _port_order(entry: tuple[str, object]) -> tuple[int, str]:
    number, _, protocol = entry[0].partition("/")
    return int(number), protocol


def endpoints(container: Container) -> dict[str, EndpointSettings]:
    """What was asked of each network, with the present run's addresses where there are any."""
    definition = container.definition
    found = networks_in_sight(definition, container.status)
    if container.status.runs == 0:
        return found
    return {
        name: settings
        if name in PREDEFINED
        else msgspec.structs.replace(settings, dns_names=dns_names(definition, settings))
        for name, settings in found.items()
    }


def network_settings(container: Container) -> dict[str, Any]:
    """Schema NetworkSettings."""
    present = next(iter(container.status.networks.values()), None)
    wire: dict[str, Any] = {
        "SandboxID": present.endpoint_id if present else "",
        "SandboxKey": f"/proc/{container.status.pid}/ns/net" if present else "",
        "Ports": port_map(container),
        "Networks": {
            name: msgspec.structs.replace(settings)
            for name, settings in endpoints(container).items()
        },
    }
    return wire
