"""Tag Network of the Engine API, as far as the predefined networks go: list and inspect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from quart import Blueprint

from services.api.request import current_request
from services.api.responses import EngineResponse
from services.api.types.networks import BridgeOnHost, members_to_wire, network_to_wire
from services.api.version import ApiVersion
from services.api.wire import encode
from services.containers import Container
from services.errors import InvalidParameter, NotFound

NAMES: Final = ("bridge", "host", "none")
MEMBERS_IN_LIST_BELOW: Final = ApiVersion(1, 28)
KNOWN_FILTERS: Final = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class NetworkIds(Protocol):
    """Which networks there are."""

    def network_id(self, name: str) -> str:
        """The id of a predefined network."""
        ...


class NetworkRoutes:
    """The predefined networks. `bridge` is asked at each request; None: there is no bridge."""

    def __init__(
        self,
        networks: NetworkIds,
        *,
        bridge: Callable[[], BridgeOnHost | None],
        containers: Iterable[Container],
    ) -> None:
        self._networks = networks
        self._bridge = bridge
        self._containers = containers

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("networks", __name__)
        for rule, view in (("/networks", self.list), ("/networks/<path:ref>", self.inspect)):
            blueprint.add_url_rule(rule, view.__name__, view, methods=["GET"])
        return blueprint

    async def list(self) -> EngineResponse:
        """GET /networks (NetworkList)."""
        request = current_request()
        filters = request.query.filters()
        for name in filters:
            if name not in KNOWN_FILTERS:
                raise InvalidParameter(f"invalid filter '{name}'")
        wire = [network for network in self._all() if _matches(network, filters)]
        if request.api_version < MEMBERS_IN_LIST_BELOW:
            wire = [self._with_members(network) for network in wire]
        return EngineResponse(encode(wire))

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /networks/{id} (NetworkInspect): by name, id or the beginning of an id."""
        scope = current_request().query.text("scope")
        if scope in ("", "local"):
            for network in self._all():
                if ref == network["Name"] or network["Id"].startswith(ref):
                    return EngineResponse(encode(self._with_members(network)))
        raise NotFound(f"network {ref} not found")

    def _all(self) -> Iterable[dict[str, Any]]:
        bridge = self._bridge()
        for name in NAMES:
            if name != "bridge" or bridge is not None:
                own = bridge if name == "bridge" else None
                yield network_to_wire(name, self._networks.network_id(name), own)

    def _with_members(self, network: dict[str, Any]) -> dict[str, Any]:
        return {**network, "Containers": members_to_wire(network["Name"], self._containers)}


def _matches(network: Mapping[str, Any], filters: Mapping[str, tuple[str, ...]]) -> bool:
    """Every filter must hold, of its values any. A predefined network has no label, nor dangles."""
    for name, values in filters.items():
        match name:
            case "driver" | "scope":
                holds = network[name.capitalize()] in values
            case "id" | "name":
                holds = any(_has(network[name.capitalize()], value) for value in values)
            case "type":
                holds = any(_is_type(value) for value in values)
            case "dangling":
                holds = not any(value in ("1", "true") for value in values)
            case _:
                holds = False
        if values and not holds:
            return False
    return True


def _has(text: str, pattern: str) -> bool:
    """Docker's loose match: the pattern is a regular expression if it can be."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _is_type(value: str) -> bool:
    if value not in ("builtin", "custom"):
        raise InvalidParameter(f"invalid filter: 'type'='{value}'")
    return value == "builtin"
