"""Kinds of object that a client may ask for and of which this engine has none: volumes, plugins."""

from __future__ import annotations

from quart import Blueprint

from services.api.request import current_request
from services.api.responses import EngineResponse
from services.api.wire import encode
from services.errors import NotFound


def absent_blueprint() -> Blueprint:
    """The routes, without version prefix."""
    blueprint = Blueprint("absent", __name__)
    for rule, view in (
        ("/volumes", list_volumes),
        ("/volumes/<path:name>", inspect_volume),
        ("/plugins", list_plugins),
    ):
        blueprint.add_url_rule(rule, view.__name__, view, methods=["GET"])
    return blueprint


async def list_volumes() -> EngineResponse:
    """GET /volumes (VolumeList)."""
    current_request().query.filters()  # a malformed one is refused all the same
    return EngineResponse(encode({"Volumes": [], "Warnings": []}))


async def inspect_volume(name: str) -> EngineResponse:
    """GET /volumes/{name} (VolumeInspect)."""
    raise NotFound(f"get {name}: no such volume")


async def list_plugins() -> EngineResponse:
    """GET /plugins (PluginList)."""
    current_request().query.filters()
    return EngineResponse(encode([]))
