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
from .prune_limits import KeptSteps, PruneLimits, oldest_first

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

    def choose(self, one: BuildStep | CacheRecord) -> bool:
        """Whether it is to go."""
        if isinstance(one, CacheRecord):
            return self._chooses(CACHE_TYPE, one.name, one.used_at_ns)
        return self._chooses(STEP_TYPE, one.key, one.used_at_ns)

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


class CachePruner:
    """Deletes what builds have kept."""

    def __init__(
        self,
        *,
        steps: StepStore,
        caches: CacheMounts,
        in_use: Callable[[], Collection[str]],
        look: Callable[[], Awaitable[KeptSteps]],
        free_bytes: Callable[[], Awaitable[int]],
    ) -> None:
        """`in_use` are digests of steps that stay; `free_bytes` are free on the disk."""
        self._steps, self._caches = steps, caches
        self._in_use, self._look, self._free_bytes = in_use, look, free_bytes

    async def prune(self, filters: BuildPruneFilters, limits: PruneLimits) -> PrunedCache:
        """Delete what `filters` choose as far as `limits` ask for it; nothing that is in use."""
        kept = await self._look()
        usage = await self._caches.usage()
        of_caches = sum(one.size_bytes for one in usage)
        total = kept.size_bytes + of_caches
        keep = limits.keep_bytes(total, await self._free_bytes()) if limits.is_given else -1
        used = self._in_use()
        steps = [one for one in await self._steps.list() if one.digest not in used]
        going = [
            one
            for one in oldest_first(steps, [cache.record for cache in usage], kept.layers)
            if filters.choose(one)
        ]
        keys: list[str] = []
        freed = 0
        for number, one in enumerate(going, start=1):
            if kept.size_bytes + of_caches - freed <= keep:
                break
            if isinstance(one, CacheRecord):
                for name, size in await self._remove(one.name):
                    keys.append(name)
                    freed += size
                continue
            is_last = number == len(going)
            await self._steps.drop(one.key, collect=is_last or limits.is_given)
            keys.append(one.key)
            if limits.is_given:
                kept = await self._look()
        after = await self._look() if keys else kept
        return PrunedCache(
            keys=keys, reclaimed_bytes=max(0, total - after.size_bytes - of_caches) + freed
        )

    async def _remove(self, name: str) -> list[tuple[str, int]]:
        return await self._caches.remove(lambda record: record.name == name)
