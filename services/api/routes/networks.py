"""Tag Network of the Engine API: list, create, inspect, remove, connect, disconnect, prune."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec
from quart import Blueprint

from services.api.network_filters import list_filters, prune_filters
from services.api.request import current_request, outlives_client
from services.api.responses import EngineResponse
from services.api.types.networks import (
    ConnectBody,
    DisconnectBody,
    NetworkCreateBody,
    members_to_wire,
    network_to_wire,
    status_to_wire,
)
from services.api.version import ApiVersion
from services.api.wire import encode, read_json
from services.containers import Container
from services.containers.config import EndpointSettings
from services.errors import InvalidParameter, NotFound
from services.networks import Network, Networks

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
    """The operations on networks."""

    def __init__(self, networks: Networks, containers: Containers) -> None:
        self._networks = networks
        self._containers = containers

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
        networks = await self._networks.select(list_filters(request.query.filters()))
        with_members = request.api_version < MEMBERS_IN_LIST_BELOW
        wire = [
            self._with_members(network) if with_members else network_to_wire(network)
            for network in networks
        ]
        return EngineResponse(encode(wire))

    async def create(self) -> EngineResponse:
        """POST /networks/create (NetworkCreate)."""
        body = await read_json(NetworkCreateBody)
        if body is None:
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        if current_request().api_version < IPV4_CAN_BE_OFF_SINCE:
            body = msgspec.structs.replace(body, enable_ipv4=None)
        network = await self._networks.create(body.request())
        return EngineResponse(encode({"Id": network.id, "Warning": ""}), 201)

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /networks/{id} (NetworkInspect): by name, id or the beginning of an id."""
        request = current_request()
        request.query.boolean("verbose")
        network = await self._networks.get(ref)
        if request.query.text("scope") not in ("", network.scope):
            raise NotFound(f"network {ref} not found")
        wire = self._with_members(network)
        if request.api_version >= STATUS_SINCE and network.subnets and not network.config_only:
            wire["Status"] = status_to_wire(self._networks.addresses(network))
        return EngineResponse(encode(wire))

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /networks/{id} (NetworkDelete)."""
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
        names = await self._networks.prune(filters)
        return EngineResponse(encode({"NetworksDeleted": names or None}))

    def _with_members(self, network: Network) -> dict[str, Any]:
        members = members_to_wire(network, self._containers.table)
        return {**network_to_wire(network), "Containers": members}


def _nothing() -> EngineResponse:
    response = EngineResponse(b"", 200)
    response.headers.pop("Content-Type", None)
    return response
