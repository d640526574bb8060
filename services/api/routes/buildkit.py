"""Tag Session of the Engine API: POST /session; and POST /grpc, which its definition lacks.

Over both goes HTTP/2 with gRPC: the client's calls over the second, the engine's over the first.

Source: moby, api/server/router/{session,grpc}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from quart import Blueprint

from services.api.http.hijack import HijackedStream
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse, HijackResponse
from services.errors import InvalidParameter, NotSupported

if TYPE_CHECKING:
    from services.buildkit import BuildKit

PROTOCOL: Final = "h2c"
_PREFIX: Final = "X-Docker-Expose-Session-"


class BuildKitRoutes:
    """Session, and BuildKit's calls."""

    def __init__(
        self, make: Callable[[], BuildKit], *, is_switched_off: Callable[[], bool]
    ) -> None:
        """`make` is called with the first connection: what it imports is needed by no other."""
        self._make, self._is_switched_off = make, is_switched_off
        self._face: BuildKit | None = None

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("buildkit", __name__)
        blueprint.add_url_rule("/session", "session", self.session, methods=["POST"])
        blueprint.add_url_rule("/grpc", "grpc", self.grpc, methods=["POST"])
        return blueprint

    async def session(self) -> EngineResponse:
        """POST /session (Session)."""
        face = self._checked()
        headers = current_request().headers
        head = face.session(
            headers.get(f"{_PREFIX}Uuid", ""),
            headers.get(f"{_PREFIX}Name", ""),
            headers.getlist(f"{_PREFIX}Grpc-Method"),
        )

        async def serve(_session: None, stream: HijackedStream) -> None:
            await face.serve_session(head, stream)

        return HijackResponse(serve, protocol=PROTOCOL)

    async def grpc(self) -> EngineResponse:
        """POST /grpc."""
        face = self._checked()
        face.check_calls()

        async def serve(_session: None, stream: HijackedStream) -> None:
            await face.serve_calls(stream)

        return HijackResponse(serve, protocol=PROTOCOL)

    def _checked(self) -> BuildKit:
        if self._is_switched_off():
            raise NotSupported("BuildKit is switched off (features.buildkit)")
        upgrade = current_request().headers.get("Upgrade", "")
        if upgrade.lower() != PROTOCOL:
            raise InvalidParameter(f"upgrade to {PROTOCOL} is needed, not {upgrade!r}")
        if self._face is None:
            self._face = self._make()
        return self._face
