"""Before each request of the engine's own API: whether whoever asks may. See `observer.guard`."""

from __future__ import annotations

from typing import Final, cast

from services.api.http.asgi import Scope
from services.api.wire.request import current_request
from services.observer.guard import OBSERVER_KEY, Door, check

PREFIX: Final = "/wharfinger/v1"


async def guard_own() -> None:
    """For a blueprint's `before_request`. Raises what `check` raises."""
    request = current_request()
    check(
        door_of(cast("Scope", request.scope)),
        method=request.method,
        scheme=request.scheme,
        headers={name.lower(): value for name, value in request.headers.items()},
        is_page=not request.path.startswith(f"{PREFIX}/"),
    )


def door_of(scope: Scope) -> Door:
    """How a request came in."""
    if scope.get(OBSERVER_KEY):
        return Door.OBSERVER
    return Door.UNIX if scope.get("server") is None else Door.TCP
