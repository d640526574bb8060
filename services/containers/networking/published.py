"""Which ports of a container are to be published, and which are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.containers.config import HostConfig
from services.containers.container import Container
from services.containers.model import Definition
from services.errors import InvalidParameter
from services.networks import PortRequest, PublishedPort
from services.networks.ports import by_container_port, port_requests, ports_of_range

NETWORKS_WITHOUT_PORTS: Final = frozenset({"host", "none"})


def wanted_ports(definition: Definition) -> list[PortRequest]:
    """What is to be published. Raises InvalidParameter and NotSupported as `port_requests`."""
    return requested_ports(definition.host_config, definition.config.exposed_ports or {})


def requested_ports(host: HostConfig, exposed: Mapping[str, object]) -> list[PortRequest]:
    """What these settings publish; nothing where the network is not the container's own."""
    bindings = {
        port: [(binding.host_ip, binding.host_port) for binding in asked or ()]
        for port, asked in (host.port_bindings or {}).items()
    }
    if host.network_mode in NETWORKS_WITHOUT_PORTS:
        return []
    return port_requests(bindings, exposed, publish_all=host.publish_all_ports)


def shown_ports(container: Container) -> dict[str, Sequence[PublishedPort]]:
    """The present run's ports by the container's end; of what is only exposed, none.

    Empty while it does not run, and where the network is not its own: in dockerd too the host's
    network and `none` have none.
    """
    networks = container.status.networks.keys() - NETWORKS_WITHOUT_PORTS
    if not container.state.has_task or not networks:
        return {}
    published = by_container_port(container.status.ports)
    exposed = _exposed(container)
    keys = [*exposed, *(key for key in published if key not in exposed)]
    return {key: published.get(key, ()) for key in keys}


def _exposed(container: Container) -> list[str]:
    """The ports that its definition exposes or publishes, as Docker writes them."""
    definition = container.definition
    texts = [
        *(definition.config.exposed_ports or {}),
        *(definition.host_config.port_bindings or {}),
    ]
    return list(dict.fromkeys(key for text in texts for key in _ports(text)))


def _ports(text: str) -> list[str]:
    try:
        return ports_of_range(text)
    except InvalidParameter:  # an image may say anything
        return []
