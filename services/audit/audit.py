"""Runs the checks, twice, and mends what is safe to mend.

A thing that is being made or taken away looks wrong for a moment: only what is found in two looks
with a pause between them is told. Mending is what the engine does at its start anyway: whatever is
nobody's is taken away, and what is meant to be is made so; it never touches what somebody may need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

from services.audit.findings import Check, Finding
from services.errors import EngineError

log = logger.bind(service="audit")

PAUSE_S: Final = 1.0
CHECK_LIMIT_S: Final = 20.0
MEND_LIMIT_S: Final = 60.0

Mend = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One check's result. `error` says why it could not be told; then there are no findings."""

    kind: str
    findings: tuple[Finding, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found. `mended` were there before and are not any more."""

    checks: tuple[Checked, ...]
    mended: tuple[Finding, ...] = ()
    mend_errors: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all checks, in order."""
        return tuple(finding for check in self.checks for finding in check.findings)

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, and everything could be told."""
        return not self.findings and not any(check.error for check in self.checks)


class Audit:
    """One audit at a time; who comes second waits for its turn.

    `mends` are carried out in order, each under a limit; one that fails does not keep the others.
    """

    def __init__(self, checks: Sequence[Check], *, mends: Sequence[Mend]) -> None:
        self._checks = tuple(checks)
        self._mends = tuple(mends)
        self._turn = trio.Lock()

    async def run(self, *, repair: bool = False) -> AuditReport:
        """Compare everything; with `repair` mend what is found, and compare again."""
        async with self._turn:
            checked = await self._look_twice()
            before = [finding for check in checked for finding in check.findings]
            if not (repair and before):
                return AuditReport(checks=checked)
            errors = await self._mend()
            checked = await self._look_twice()
        left = {finding for check in checked for finding in check.findings}
        mended = tuple(finding for finding in before if finding not in left)
        for finding in mended:
            log.info("mended", kind=finding.kind, subject=finding.subject, was=finding.text)
        return AuditReport(checks=checked, mended=mended, mend_errors=errors)

    async def _look_twice(self) -> tuple[Checked, ...]:
        first = await self._look()
        if all(not check.findings for check in first):
            return first
        await trio.sleep(PAUSE_S)
        second = await self._look()
        return tuple(_lasting(before, after) for before, after in zip(first, second, strict=True))

    async def _look(self) -> tuple[Checked, ...]:
        found: dict[str, Checked] = {}
        async with trio.open_nursery() as nursery:
            for check in self._checks:
                nursery.start_soon(self._look_at, check, found)
        return tuple(found[check.kind] for check in self._checks)

    async def _look_at(self, check: Check, found: dict[str, Checked]) -> None:
        try:
            with trio.fail_after(CHECK_LIMIT_S):
                findings = await check.look()
        except trio.TooSlowError:
            error = f"no answer in {CHECK_LIMIT_S:g} s"
            found[check.kind] = Checked(kind=check.kind, error=error)
        except (EngineError, OSError) as error:
            found[check.kind] = Checked(kind=check.kind, error=str(error))
        else:
            found[check.kind] = Checked(kind=check.kind, findings=tuple(sorted(findings)))

    async def _mend(self) -> tuple[str, ...]:
        errors: list[str] = []
        for mend in self._mends:
            try:
                with trio.fail_after(MEND_LIMIT_S):
                    await mend()
            except trio.TooSlowError:
                errors.append(f"not done in {MEND_LIMIT_S:g} s")
            except (EngineError, OSError) as error:
                errors.append(str(error))
        return tuple(errors)


def _lasting(before: Checked, after: Checked) -> Checked:
    """What was found both times. A check that failed once was not told."""
    if before.error or after.error:
        return after if after.error else before
    seen = set(before.findings)
    return Checked(kind=after.kind, findings=tuple(f for f in after.findings if f in seen))
