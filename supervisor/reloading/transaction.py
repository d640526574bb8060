"""Steps that are taken all or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

log = logger.bind(service="reload")

REVERT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change. `apply` limits itself and raises if the change has not been made whole.

    `revert` brings the old state back from wherever `apply` was left, also in its midst.
    """

    name: str
    apply: Callable[[], Awaitable[None]]
    revert: Callable[[], Awaitable[None]]


class StepFailed(Exception):
    """One step could not be taken. `not_undone` names those whose undoing failed too."""

    def __init__(self, step: str, reason: str, not_undone: Sequence[str]) -> None:
        text = f"{step}: {reason}"
        if not_undone:
            text += f" (and not undone: {', '.join(not_undone)})"
        super().__init__(text)
        self.not_undone = tuple(not_undone)


async def take_steps(steps: Sequence[Step]) -> None:
    """Take the steps in order; if one fails, or we are cancelled, undo all in reverse.

    Raises:
        StepFailed: one failed; what was done is undone.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            await step.apply()
    except Exception as error:  # whatever a part raises at its start; the caller tells people
        raise StepFailed(begun[-1].name, str(error), await _revert(begun)) from error
    except BaseException:
        await _revert(begun)
        raise


async def _revert(begun: Sequence[Step]) -> list[str]:
    """Undo each; go on past one that fails. The names of those that did."""
    failed = []
    for step in reversed(begun):
        with trio.move_on_after(REVERT_S, shield=True) as scope:
            try:
                await step.revert()
            except Exception as error:  # the other steps are to be undone all the same
                log.opt(exception=error).error("step of a reload not undone", step=step.name)
                failed.append(step.name)
        if scope.cancelled_caught:
            log.error("step of a reload not undone in time", step=step.name, after_s=REVERT_S)
            failed.append(step.name)
    return failed
