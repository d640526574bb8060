"""Containers in networks whose addresses somebody else gives: the cluster's managers.

A start, or a connection while it runs, asks for the container's place first. Without a cluster
there is nobody to ask, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.containers.container import Container
from services.networks import EndpointRequest


class NetworkHost(Protocol):
    """Whoever gives places in such networks."""

    async def place(
        self, container: Container, wanted: Sequence[EndpointRequest]
    ) -> Sequence[EndpointRequest]:
        """The requests, with networks and addresses for those that need a place given.

        Raises:
            EngineError: a place cannot be had.
        """


class Guests:
    """Asks whoever gives places, if there is anybody.

    Attributes:
        host: None until somebody comes.
    """

    def __init__(self) -> None:
        self.host: NetworkHost | None = None

    async def place(
        self, container: Container, wanted: Sequence[EndpointRequest]
    ) -> Sequence[EndpointRequest]:
        """As `NetworkHost.place`."""
        return wanted if self.host is None else await self.host.place(container, wanted)
