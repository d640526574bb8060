"""Deleting what builds have kept: their steps, and the caches of their commands.

Source: Engine API, BuildPrune.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from services.images.steps import BuildStep

from .cache_mounts import CacheMounts
from .cache_store import CacheRecord
from .ports import StepStore

STEP_TYPE: Final = "regular"
CACHE_TYPE: Final = "exec.cachemount"
"""BuildKit's words for a step and for a cache of `RUN --mount=type=cache`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPruneFilters:
    """All of what is given must hold. `before_ns`: last used before. `ids` begin a step's key, or
    a cache's name; `types` are BuildKit's."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    before_ns: int | None = None

    def choose(self, step: BuildStep) -> bool:
        """Whether a step is to go."""
        return self._chooses(STEP_TYPE, step.key, step.used_at_ns)

    def choose_cache(self, cache: CacheRecord) -> bool:
        """Whether a cache is to go."""
        return self._chooses(CACHE_TYPE, cache.name, cache.used_at_ns)

    def _chooses(self, kind: str, identity: str, used_at_ns: int) -> bool:
        if self.types and kind not in self.types:
            return False
        if self.before_ns is not None and used_at_ns >= self.before_ns:
            return False
        return not self.ids or any(identity.startswith(one) for one in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedCache:
    """What was deleted: keys of steps and names of caches."""

    keys: list[str]
    reclaimed_bytes: int


async def prune_cache(
    steps: StepStore,
    caches: CacheMounts,
    filters: BuildPruneFilters,
    *,
    in_use: Callable[[], Collection[str]],
    free_bytes: Callable[[], Awaitable[int]],
) -> PrunedCache:
    """Delete what `filters` choose, but for steps that containers stand on and caches in use.

    `in_use` are digests; `free_bytes` tells how much the steps take, before and after.
    """
    used = in_use()
    going = [s for s in await steps.list() if filters.choose(s) and s.digest not in used]
    before = await free_bytes() if going else 0
    for number, step in enumerate(going, start=1):
        await steps.drop(step.key, collect=number == len(going))
    after = await free_bytes() if going else 0
    removed = await caches.remove(filters.choose_cache)
    return PrunedCache(
        keys=[*(step.key for step in going), *(name for name, _ in removed)],
        reclaimed_bytes=max(0, before - after) + sum(freed for _, freed in removed),
    )
