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


class LazyBuildKit:
    """BuildKit's protocol, made with its first use: what it imports is needed by nobody else."""

    def __init__(
        self, make: Callable[[], BuildKit], *, is_switched_off: Callable[[], bool]
    ) -> None:
        self._make, self._is_switched_off = make, is_switched_off
        self._face: BuildKit | None = None

    def get(self) -> BuildKit:
        """Raises NotSupported where it is switched off."""
        if self._is_switched_off():
            raise NotSupported("BuildKit is switched off (features.buildkit)")
        if self._face is None:
            self._face = self._make()
        return self._face


class BuildKitRoutes:
    """Session, and BuildKit's calls."""

    def __init__(self, buildkit: LazyBuildKit) -> None:
        self._buildkit = buildkit

    def blueprint(self) -> Blueprint:
        """The route that the definition has, without version prefix."""
        blueprint = Blueprint("session", __name__)
        blueprint.add_url_rule("/session", "session", self.session, methods=["POST"])
        return blueprint

    def own_blueprint(self) -> Blueprint:
        """The others."""
        blueprint = Blueprint("buildkit", __name__)
        blueprint.add_url_rule("/grpc", "grpc", self.grpc, methods=["POST"])
        blueprint.add_url_rule("/build/cancel", "cancel", self.cancel, methods=["POST"])
        return blueprint

    async def session(self) -> EngineResponse:
        """POST /session (Session)."""
        face = self._buildkit.get()
        _check_upgrade()
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
        face = self._buildkit.get()
        _check_upgrade()
        face.check_calls()

        async def serve(_session: None, stream: HijackedStream) -> None:
            await face.serve_calls(stream)

        return HijackResponse(serve, protocol=PROTOCOL)

    async def cancel(self) -> EngineResponse:
        """POST /build/cancel."""
        self._buildkit.get().classic.cancel(current_request().query.text("id"))
        return EngineResponse(b"")


def _check_upgrade() -> None:
    upgrade = current_request().headers.get("Upgrade", "")
    if upgrade.lower() != PROTOCOL:
        raise InvalidParameter(f"an upgrade to {PROTOCOL} is needed, not to {upgrade!r}")
