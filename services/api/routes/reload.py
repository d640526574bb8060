"""POST /wharfinger/v1/reload: the configuration is read again. The engine's own API."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from quart import Blueprint

from services.api.access.own_guard import PREFIX, guard_own
from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse

PATH: Final = f"{PREFIX}/reload"


class RestartedPart(Protocol):
    """A part of the tree that begins anew, and the settings that it does so for."""

    @property
    def path(self) -> str:
        """Where it stands in the tree."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Which differ."""


class ReloadPlan(Protocol):
    """What a reload does. Settings are named as in daemon.json."""

    @property
    def live(self) -> tuple[str, ...]:
        """Those that are applied where they are used."""

    @property
    def parts(self) -> Sequence[RestartedPart]:
        """Those that begin anew."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that a restart of the daemon will apply."""

    @property
    def reread(self) -> tuple[Path, ...]:
        """Files that are read again whether a setting has changed or not."""


class Reload(Protocol):
    """Reads the configuration again, or finds out what that would take."""

    def __call__(self, *, dry_run: bool) -> Awaitable[ReloadPlan]:
        """Raises InvalidParameter, EngineError."""
        ...


class ReloadRoutes:
    """One route."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    def blueprint(self) -> Blueprint:
        """The route, without version prefix."""
        blueprint = Blueprint("reload", __name__)
        blueprint.before_request(guard_own)
        blueprint.add_url_rule(PATH, "reload", self.reload, methods=["POST"])
        return blueprint

    async def reload(self) -> EngineResponse:
        """200 with what was done, or with `dry-run` what would be; 400 for a file that is wrong;
        500 when a part does not come up. After an error everything is as it was.
        """
        dry_run = current_request().query.boolean("dry-run")
        plan = await self._reload(dry_run=dry_run)
        return EngineResponse(encode(plan_to_wire(plan, dry_run=dry_run)))


def plan_to_wire(plan: ReloadPlan, *, dry_run: bool) -> dict[str, Any]:
    """The answer."""
    return {
        "DryRun": dry_run,
        "Applied": list(plan.live),
        "Restarted": [{"Part": part.path, "Settings": list(part.settings)} for part in plan.parts],
        "Reread": [str(path) for path in plan.reread],
        "NeedDaemonRestart": list(plan.waiting),
    }
