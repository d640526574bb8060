"""Deleting steps of builds that were kept. Source: Engine API, BuildPrune."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from services.images.steps import BuildStep

from .ports import StepStore


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPruneFilters:
    """All of what is given must hold. `before_ns`: last used before. `ids` begin a step's key."""

    ids: tuple[str, ...] = ()
    before_ns: int | None = None

    def choose(self, step: BuildStep) -> bool:
        """Whether a step is to go."""
        if self.before_ns is not None and step.used_at_ns >= self.before_ns:
            return False
        return not self.ids or any(step.key.startswith(one) for one in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedSteps:
    """What was deleted."""

    keys: list[str]
    reclaimed_bytes: int


async def prune_steps(
    steps: StepStore,
    filters: BuildPruneFilters,
    *,
    in_use: Callable[[], Collection[str]],
    free_bytes: Callable[[], Awaitable[int]],
) -> PrunedSteps:
    """Delete what `filters` choose, but for steps that containers stand on.

    `in_use` are digests; `free_bytes` tells how much the steps take, before and after.
    """
    used = in_use()
    going = [s for s in await steps.list() if filters.choose(s) and s.digest not in used]
    before = await free_bytes() if going else 0
    for number, step in enumerate(going, start=1):
        await steps.drop(step.key, collect=number == len(going))
    after = await free_bytes() if going else 0
    return PrunedSteps(keys=[step.key for step in going], reclaimed_bytes=max(0, before - after))
