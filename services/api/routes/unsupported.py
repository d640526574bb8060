"""Answers 501 for every operation of the Engine API that is in the table of unsupported ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import Blueprint

from services.api.routes.not_yet import UNSUPPORTED, UnsupportedOperation
from services.api.wire.responses import EngineResponse
from services.errors import NotSupported


def unsupported_blueprint() -> Blueprint:
    """The routes, without version prefix."""
    blueprint = Blueprint("unsupported", __name__)
    for number, operation in enumerate(UNSUPPORTED):
        blueprint.add_url_rule(
            rule_of(operation.path), f"operation_{number}", _refusal(operation),
            methods=[operation.method],
        )  # fmt: skip
    return blueprint


def rule_of(path: str) -> str:
    """A path of the definition as a routing rule; names of images and plugins may hold slashes."""
    return path.replace("{name}", "<path:name>").replace("{id}", "<id>")


def _refusal(operation: UnsupportedOperation) -> Callable[..., Awaitable[EngineResponse]]:
    async def refuse(**_: str) -> EngineResponse:
        raise NotSupported(operation.sentence)

    return refuse
