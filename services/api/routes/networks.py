"""Tag Network of the Engine API: list, create, inspect, remove, connect, disconnect, prune."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from quart import Blueprint

from services.api.cluster_face import OutsideSwarm
from services.api.filters.networks import list_filters, prune_filters
from services.api.routes.cluster_modules import ClusterModules
from services.api.types.networks import (
    ConnectBody,
    DisconnectBody,
    NetworkCreateBody,
    members_to_wire,
    network_to_wire,
    status_to_wire,
)
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse
from services.containers import Container
from services.containers.config import EndpointSettings
from services.errors import Conflict, InvalidParameter, NotFound, Unavailable
from services.networks import Network, Networks

if TYPE_CHECKING:
    from services.api.routes.cluster.networks import Routes as ClusterNetworks
    from services.cluster.model.objects import ClusterNetwork

MEMBERS_IN_LIST_BELOW: Final = ApiVersion(1, 28)
IPV4_CAN_BE_OFF_SINCE: Final = ApiVersion(1, 48)
STATUS_SINCE: Final = ApiVersion(1, 52)


class Connections(Protocol):
    """What changes which networks a container is in."""

    async def connect(self, container: Container, ref: str, asked: EndpointSettings) -> None:
        """Have a container in one more network."""

    async def disconnect(self, container: Container, ref: str, *, force: bool) -> None:
        """Have a container in a network no more."""


class Containers(Protocol):
    """What is needed of the containers service."""

    @property
    def table(self) -> Iterable[Container]:
        """All of them."""

    @property
    def connections(self) -> Connections:
        """Who changes their networks."""

    def find(self, ref: str) -> Container:
        """By id, name or a beginning of its id. Raises NotFound."""


class NetworkRoutes:
    """The operations on networks: this engine's, and on a swarm's manager the swarm's as well."""

    def __init__(
        self,
        networks: Networks,
        containers: Containers,
        cluster: ClusterModules | None = None,
    ) -> None:
        self._networks = networks
        self._containers = containers
        self._cluster = cluster or ClusterModules(OutsideSwarm())

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("networks", __name__)
        one = "/networks/<path:ref>"
        for rule, view, method in (
            ("/networks", self.list, "GET"),
            ("/networks/create", outlives_client(self.create), "POST"),
            ("/networks/prune", outlives_client(self.prune), "POST"),
            (one, self.inspect, "GET"),
            (one, outlives_client(self.remove), "DELETE"),
            (f"{one}/connect", outlives_client(self.connect), "POST"),
            (f"{one}/disconnect", outlives_client(self.disconnect), "POST"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    async def list(self) -> EngineResponse:
        """GET /networks (NetworkList)."""
        request = current_request()
        filters = list_filters(request.query.filters())
        networks = await self._networks.select(filters)
        swarm = await self._swarm()
        shared = swarm.list(filters) if swarm is not None else {}
        with_members = request.api_version < MEMBERS_IN_LIST_BELOW
        wire = [
            self._with_members(network) if with_members else network_to_wire(network)
            for network in networks
            if swarm is None or not network.is_of_cluster  # else all that are to be seen are shared
        ]
        return EngineResponse(encode([*shared.values(), *wire]))

    async def create(self) -> EngineResponse:
        """POST /networks/create (NetworkCreate)."""
        body = await read_json(NetworkCreateBody)
        if body is None:
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        if current_request().api_version < IPV4_CAN_BE_OFF_SINCE:
            body = msgspec.structs.replace(body, enable_ipv4=None)
        return EngineResponse(encode({"Id": await self._create(body), "Warning": ""}), 201)

    async def _create(self, body: NetworkCreateBody) -> str:
        if (body.driver == "overlay" or body.scope == "swarm") and self._cluster.face.is_active:
            self._cluster.face.control()  # says why, if this node is no manager
            swarm: ClusterNetworks = await self._cluster.get("networks")
            return await swarm.create(body.request())
        manager = await self._swarm()
        if manager is not None and manager.has_name(body.name):
            raise Conflict(f"network with name {body.name} already exists")
        return (await self._networks.create(body.request())).id

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /networks/{id} (NetworkInspect): by name, id or the beginning of an id."""
        request = current_request()
        verbose, scope = request.query.boolean("verbose"), request.query.text("scope")
        swarm = await self._swarm()
        if swarm is not None and scope in ("", "swarm"):
            own = swarm.node_local(ref) if scope == "swarm" else None
            shared = own or await self._find_shared(swarm, ref)
            if shared is not None:
                members = members_to_wire(swarm.as_network(shared), self._containers.table)
                wire = swarm.to_wire(shared, verbose=verbose)
                return EngineResponse(encode({**wire, "Containers": members}))
        network = await self._networks.get(ref)
        if scope not in ("", network.scope):
            raise NotFound(f"network {ref} not found")
        wire = self._with_members(network)
        if request.api_version >= STATUS_SINCE and network.subnets and not network.config_only:
            wire["Status"] = status_to_wire(self._networks.addresses(network))
        return EngineResponse(encode(wire))

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /networks/{id} (NetworkDelete)."""
        swarm = await self._swarm()
        shared = await self._find_shared(swarm, ref) if swarm is not None else None
        if swarm is not None and shared is not None:
            await swarm.remove(shared)
        else:
            await self._networks.remove(ref)
        response = EngineResponse(b"", 204)
        response.headers.pop("Content-Type", None)
        return response

    async def connect(self, ref: str) -> EngineResponse:
        """POST /networks/{id}/connect (NetworkConnect)."""
        body = await read_json(ConnectBody)
        if body is None:
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        container = self._containers.find(body.container)
        await self._containers.connections.connect(
            container, ref, body.endpoint_config or EndpointSettings()
        )
        return _nothing()

    async def disconnect(self, ref: str) -> EngineResponse:
        """POST /networks/{id}/disconnect (NetworkDisconnect)."""
        body = await read_json(DisconnectBody)
        if body is None:
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        try:
            container = self._containers.find(body.container)
        except NotFound:
            if not body.force:
                raise
            await self._networks.get(ref)  # what is not there is left by nobody
            raise NotFound(f"endpoint {body.container} not found") from None
        await self._containers.connections.disconnect(container, ref, force=body.force)
        return _nothing()

    async def prune(self) -> EngineResponse:
        """POST /networks/prune (NetworkPrune)."""
        filters = prune_filters(current_request().query.filters(), time.time_ns())
        swarm = await self._swarm()
        names = [*await self._networks.prune(filters)]
        if swarm is not None:
            names += await swarm.prune(filters)
        return EngineResponse(encode({"NetworksDeleted": names or None}))

    async def _swarm(self) -> ClusterNetworks | None:
        """The swarm's networks, on one of its managers."""
        if not self._cluster.face.is_active:
            return None
        try:
            self._cluster.face.control()
        except Unavailable:
            return None
        routes: ClusterNetworks = await self._cluster.get("networks")
        return routes

    async def _find_shared(self, swarm: ClusterNetworks, ref: str) -> ClusterNetwork | None:
        """The swarm's network that `ref` means, unless it means one of this engine's."""
        if (found := swarm.find(ref, exactly=True)) is not None:
            return found
        try:
            await self._networks.get(ref)
        except NotFound:
            return swarm.find(ref, exactly=False)
        return None

    def _with_members(self, network: Network) -> dict[str, Any]:
        members = members_to_wire(network, self._containers.table)
        return {**network_to_wire(network), "Containers": members}


def _nothing() -> EngineResponse:
    response = EngineResponse(b"", 200)
    response.headers.pop("Content-Type", None)
    return response
