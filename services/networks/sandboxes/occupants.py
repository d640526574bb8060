"""Which containers are in which networks, and by what endpoints. In memory: no system call here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from services.errors import Forbidden
from services.networks.endpoints import Endpoint, EndpointRequest
from services.networks.model import GATEWAY_BRIDGE, Network
from services.networks.networks import Networks
from services.networks.sandboxes.attaching import Attacher, Places
from services.networks.sandboxes.gateway import WayOut, needs_gateway
from services.networks.sandboxes.reserve import WITHOUT_LINKS, give_back, take_endpoint


class Occupants:
    """Endpoints by container; each has its addresses, and stands among its network's members."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._asked = Places(networks)
        self._endpoints: dict[str, list[Endpoint]] = {}

    def attach_by(self, attacher: Attacher | None) -> None:
        """Have somebody ask the managers for places in networks that span nodes."""
        self._asked.attacher = attacher

    @property
    def has_managers(self) -> bool:
        """Whether there is somebody to ask for places in networks that are not known here."""
        return self._asked.attacher is not None

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        """A container's places in networks."""
        return tuple(self._endpoints.get(container_id, ()))

    def all(self) -> Iterable[tuple[str, Endpoint]]:
        """Every endpoint, with the id of its container."""
        for container_id, endpoints in self._endpoints.items():
            for endpoint in endpoints:
                yield container_id, endpoint

    async def enter_all(self, container_id: str, requests: Sequence[EndpointRequest]) -> None:
        """Have a container in all that it asks for, with a way out, or in none.

        Raises as `Sandboxes.reserve`; `leave_all` gives back what was taken until then.
        """
        networks = [await self._network(request.network) for request in requests]
        if any(network.driver in WITHOUT_LINKS for network in networks):
            self._enter(container_id, networks[0], requests[0])
            return
        for network, request in zip(networks, requests, strict=True):
            self._enter(container_id, network, request)
        if needs_gateway(networks, self.endpoints(container_id)):
            gateway = await self._network(GATEWAY_BRIDGE)
            self._enter(container_id, gateway, EndpointRequest(network=GATEWAY_BRIDGE))

    async def ask_place(self, container_id: str, request: EndpointRequest) -> EndpointRequest:
        """Have the managers give a place in a network that may not be known here; it is then.

        Any other request comes back as it is.

        Raises:
            NotFound, Forbidden, Unavailable: as `Attacher.attach`; without one, as `Networks.find`.
        """
        present = {endpoint.network_id for endpoint in self.endpoints(container_id)}
        (request,) = await self._asked.asked(container_id, [request], present)
        return request

    async def ask_places(
        self, container_id: str, requests: Sequence[EndpointRequest]
    ) -> list[EndpointRequest]:
        """As `ask_place`, for all of a container that is in no network yet."""
        return await self._asked.asked(container_id, requests, ())

    def give_back_places(self, container_id: str, requests: Iterable[EndpointRequest]) -> None:
        """Nothing came of what managers have given."""
        self._asked.give_back(container_id, (request.network for request in requests))

    async def enter(self, container_id: str, request: EndpointRequest) -> Endpoint:
        """Have a container in one more network; `request` is as `ask_place` has it.

        Raises:
            Forbidden: it is in that network.
            EngineError: as `take_endpoint`.
        """
        network = await self._network(request.network)
        if any(e.network_id == network.id for e in self.endpoints(container_id)):
            raise Forbidden(f"endpoint with name {request.network} already exists")
        try:
            return self._enter(container_id, network, request)
        except BaseException:
            self._asked.give_back(container_id, [network.id])
            raise

    def adopt(self, container_id: str, endpoints: Sequence[Endpoint]) -> None:
        """A container found running has these; those of networks that are gone are passed over."""
        known = {endpoint.endpoint_id for endpoint in self.endpoints(container_id)}
        for endpoint in endpoints:
            network = self._networks.by_id(endpoint.network_id)
            if network is None or endpoint.endpoint_id in known:
                continue
            self._endpoints.setdefault(container_id, []).append(endpoint)
            self._networks.members.enter(network.id, endpoint.endpoint_id, container_id)
            for text in (endpoint.address, endpoint.address6):
                if text:
                    self._networks.addresses(network).take_if_free(
                        ip_address(text), owner=container_id
                    )

    def leave(self, container_id: str, endpoint: Endpoint) -> None:
        """Give back an endpoint, if that has not happened."""
        if any(one.endpoint_id == endpoint.endpoint_id for one in self.endpoints(container_id)):
            self._leave(container_id, endpoint)

    def leave_all(self, container_id: str) -> None:
        """Give back all that a container has."""
        for endpoint in self.endpoints(container_id):
            self._leave(container_id, endpoint)

    def way_out(self, container_id: str) -> WayOut:
        """Whether a container that runs has the way out that is to be had with its networks."""
        endpoints = self.endpoints(container_id)
        others = [endpoint for endpoint in endpoints if not endpoint.is_way_out_only]
        found = (self._networks.by_id(endpoint.network_id) for endpoint in others)
        is_needed = needs_gateway([network for network in found if network is not None], others)
        if is_needed == (len(endpoints) > len(others)):
            return WayOut.RIGHT
        return WayOut.LACKING if is_needed else WayOut.NEEDLESS

    async def _network(self, ref: str) -> Network:
        """A network that a container can be in now. Raises as `Networks.find`, and Unavailable."""
        network = self._networks.find(ref)
        if network.driver not in WITHOUT_LINKS:
            await self._networks.wait_ready()
            await self._networks.mend(network)
            network = self._networks.find(ref)  # the default bridge has its subnets now
        return network

    def _enter(self, container_id: str, network: Network, request: EndpointRequest) -> Endpoint:
        present = self._endpoints.get(container_id, [])
        endpoint = take_endpoint(
            network,
            self._networks.addresses(network),
            request,
            interfaces=[endpoint.interface for endpoint in present],
            owner=container_id,
        )
        self._endpoints[container_id] = [*present, endpoint]
        self._networks.members.enter(network.id, endpoint.endpoint_id, container_id)
        return endpoint

    def _leave(self, container_id: str, endpoint: Endpoint) -> None:
        network = self._networks.by_id(endpoint.network_id)
        if network is not None:
            give_back(self._networks.addresses(network), endpoint)
        self._networks.members.leave(endpoint.network_id, endpoint.endpoint_id)
        self._asked.give_back(container_id, [endpoint.network_id])
        rest = [
            other
            for other in self._endpoints.get(container_id, ())
            if other.endpoint_id != endpoint.endpoint_id
        ]
        if rest:
            self._endpoints[container_id] = rest
        else:
            self._endpoints.pop(container_id, None)
