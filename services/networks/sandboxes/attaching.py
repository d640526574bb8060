"""Places in networks that span nodes, asked of the managers for containers started by hand.

The containers of services have theirs before they are made. Source: moby, daemon/
container_operations.go (findAndAttachNetwork), daemon/cluster/networks.go (AttachNetwork).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.errors import Forbidden, NotFound, Unavailable
from services.networks.endpoints import EndpointRequest
from services.networks.model import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A place that a container may take: the network is there, the address (bare) is its own."""

    network_id: str
    address: str


class Attacher(Protocol):
    """Speaks with the managers."""

    async def attach(
        self, network: str, container_id: str, address: str, names: Sequence[str]
    ) -> Given:
        """Ask for a place in a network (name or id) that may not be known here yet.

        `address` is the one that is wanted, "" for any; `names` are what others are to call it.

        Raises:
            NotFound: the cluster has no such network.
            Forbidden: containers cannot be started in it by hand, or the address is taken.
            Unavailable: no manager answers.
        """

    def left(self, container_id: str, network_id: str) -> None:
        """A container needs its place no more, or has taken none. Anyone's may be told of."""


class Finder(Protocol):
    """What is needed of the networks."""

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""


class Places:
    """Who asks for them, if there is somebody."""

    def __init__(self, networks: Finder) -> None:
        self._networks = networks
        self.attacher: Attacher | None = None

    async def asked(
        self, container_id: str, requests: Sequence[EndpointRequest], present: Collection[str]
    ) -> list[EndpointRequest]:
        """The requests with the places that managers have given for them.

        `present` are the ids of networks that the container is in.

        Raises:
            Forbidden, NotFound, Unavailable: as `Attacher.attach`; what was given is given back.
        """
        found: list[EndpointRequest] = []
        try:
            for request in requests:
                # One by one: when one fails, what was given so far is given back.
                found.append(await self._asked(container_id, request, present))  # noqa: PERF401
        except BaseException:
            self.give_back(container_id, (request.network for request in found))
            raise
        return found

    def give_back(self, container_id: str, network_ids: Iterable[str]) -> None:
        """A container is not, or no more, in these networks."""
        if self.attacher is not None:
            for network_id in network_ids:
                self.attacher.left(container_id, network_id)

    async def _asked(
        self, container_id: str, request: EndpointRequest, present: Collection[str]
    ) -> EndpointRequest:
        if request.is_given:
            return request
        name = request.network
        try:
            network = self._networks.find(request.network)
        except NotFound:
            if self.attacher is None:
                raise
        else:
            name = network.name
            if not network.is_of_cluster:
                return request
            if network.id in present:
                raise Forbidden(f"endpoint with name {request.network} already exists")
        if self.attacher is None:
            raise Unavailable(
                f"Could not attach to network {name}: this node has no managers to ask"
            )
        given = await self.attacher.attach(
            request.network, container_id, request.address, request.names
        )
        return replace(request, network=given.network_id, address=given.address, is_given=True)
