"""Published ports of the ingress network: each belongs to one service, on all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from services.cluster.model.specs import PortConfig

DYNAMIC_PORTS: Final = range(30000, 32768)
"""What ports are chosen from. Source: swarmkit, manager/allocator/portallocator.go."""

PortKey = tuple[str, int]  # protocol and published port


class PortBook:
    """Who has which port."""

    def __init__(self) -> None:
        self._owners: dict[PortKey, str] = {}
        self._ports: dict[str, list[PortKey]] = {}  # by service

    def put(self, service_id: str, ports: Sequence[PortConfig]) -> None:
        """A service has these and no others."""
        self.release(service_id)
        for key in ingress_keys(ports):
            # Two that have the same are the store's doing: the first keeps it.
            if self._owners.setdefault(key, service_id) == service_id:
                self._ports.setdefault(service_id, []).append(key)

    def release(self, service_id: str) -> None:
        """A service has none any more."""
        for key in self._ports.pop(service_id, ()):
            self._owners.pop(key, None)

    def owner(self, key: PortKey) -> str | None:
        """The service that has a port."""
        return self._owners.get(key)

    def allocate(
        self, service_id: str, wanted: Sequence[PortConfig], had: Sequence[PortConfig]
    ) -> list[PortConfig] | str:
        """Ports with their numbers: a port that was chosen before stays what it was.

        A text instead says why they cannot be had; nothing is taken then. The ports are the
        service's only once they are `put`.
        """
        chosen: set[PortKey] = {
            (port.protocol, port.published_port)
            for port in wanted
            if port.publish_mode == "ingress" and port.published_port
        }
        for protocol, number in chosen:
            owner = self._owners.get((protocol, number))
            if owner not in (None, service_id):
                return f"port {number}/{protocol} is in use by service {owner}"
        ports: list[PortConfig] = []
        for port in wanted:
            if port.publish_mode != "ingress" or port.published_port:
                ports.append(port)
                continue
            free = self._before(port, had, chosen) or self._free(service_id, port, chosen)
            if free is None:
                return f"no port is left to publish {port.target_port}/{port.protocol} at"
            chosen.add((port.protocol, free))
            ports.append(replace(port, published_port=free))
        return ports

    def _before(
        self, port: PortConfig, had: Sequence[PortConfig], chosen: set[PortKey]
    ) -> int | None:
        for other in had:
            key = (other.protocol, other.published_port)
            if replace(other, published_port=0) == port and key not in chosen:
                return other.published_port
        return None

    def _free(self, service_id: str, port: PortConfig, chosen: set[PortKey]) -> int | None:
        for at in DYNAMIC_PORTS:
            key = (port.protocol, at)
            if key not in chosen and self._owners.get(key) in (None, service_id):
                return at
        return None


def ingress_keys(ports: Sequence[PortConfig]) -> list[PortKey]:
    """The ports that are published on all nodes."""
    return [
        (port.protocol, port.published_port)
        for port in ports
        if port.publish_mode == "ingress" and port.published_port
    ]
