"""POST /wharfinger/v1/audit: intent compared with the machine. The engine's own API."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, Protocol

from quart import Blueprint

from services.api.access.own_guard import PREFIX, guard_own
from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse
from services.audit import AuditReport, Checked, Finding

PATH: Final = f"{PREFIX}/audit"


class RunAudit(Protocol):
    """Compares everything, and mends if it is asked to."""

    def __call__(self, *, repair: bool) -> Awaitable[AuditReport]:
        """Takes some seconds."""
        ...


class AuditRoutes:
    """One route."""

    def __init__(self, run: RunAudit) -> None:
        self._run = run

    def blueprint(self) -> Blueprint:
        """The route, without version prefix."""
        blueprint = Blueprint("audit", __name__)
        blueprint.before_request(guard_own)
        blueprint.add_url_rule(PATH, "audit", self.audit, methods=["POST"])
        return blueprint

    async def audit(self) -> EngineResponse:
        """200 with what was found, also if that is much; `repair` mends what is safe to mend."""
        report = await self._run(repair=current_request().query.boolean("repair"))
        return EngineResponse(encode(report_to_wire(report)))


def report_to_wire(report: AuditReport) -> dict[str, Any]:
    """The answer."""
    return {
        "Clean": report.is_clean,
        "Checks": [_checked_to_wire(check) for check in report.checks],
        "Mended": [_finding_to_wire(finding) for finding in report.mended],
        "MendErrors": list(report.mend_errors),
    }


def _checked_to_wire(check: Checked) -> dict[str, Any]:
    return {
        "Kind": check.kind,
        "Error": check.error,
        "Findings": [_finding_to_wire(finding) for finding in check.findings],
    }


def _finding_to_wire(finding: Finding) -> dict[str, str]:
    return {"Kind": finding.kind, "Subject": finding.subject, "Text": finding.text}
