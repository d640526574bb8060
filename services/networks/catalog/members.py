"""Who is in which network now. In memory only: a start learns it from the containers that run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Members:
    """The endpoints of each network, and whose they are."""

    def __init__(self) -> None:
        self._by_network: dict[str, dict[str, str]] = {}

    def enter(self, network_id: str, endpoint_id: str, container_id: str) -> None:
        """A container is in a network from now on."""
        self._by_network.setdefault(network_id, {})[endpoint_id] = container_id

    def leave(self, network_id: str, endpoint_id: str) -> None:
        """And no more."""
        members = self._by_network.get(network_id, {})
        members.pop(endpoint_id, None)
        if not members:
            self._by_network.pop(network_id, None)

    def of(self, network_id: str) -> Mapping[str, str]:
        """A network's endpoints, each with the id of its container."""
        return self._by_network.get(network_id, _NONE)

    def is_used(self, network_id: str) -> bool:
        """Whether anybody is in a network."""
        return network_id in self._by_network
