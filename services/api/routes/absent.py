"""Kinds of object that a client may ask for and of which this engine has none: plugins."""

from __future__ import annotations

from quart import Blueprint

from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse


def absent_blueprint() -> Blueprint:
    """The routes, without version prefix."""
    blueprint = Blueprint("absent", __name__)
    blueprint.add_url_rule("/plugins", "list_plugins", list_plugins, methods=["GET"])
    return blueprint


async def list_plugins() -> EngineResponse:
    """GET /plugins (PluginList)."""
    current_request().query.filters()
    return EngineResponse(encode([]))
