"""What may stay when build cache is pruned, and what goes first. Pure.

Source: BuildKit, cache/manager.go (calculateKeepBytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.images.steps import BuildStep

from .cache_store import CacheRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneLimits:
    """Nothing more is deleted as soon as these are kept to; 0 says nothing.

    `reserved_bytes` may stay in any case, `max_used_bytes` at most, and `min_free_bytes` are to be
    free on the disk.
    """

    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0

    @property
    def is_given(self) -> bool:
        """Whether there is any."""
        return any((self.reserved_bytes, self.max_used_bytes, self.min_free_bytes))

    def keep_bytes(self, total: int, free: int) -> int:
        """How much of `total` may stay, where `free` bytes are free on the disk."""
        keep = self.max_used_bytes or (total if self.min_free_bytes else 0)
        missing = self.min_free_bytes - free
        if missing > 0:
            keep = min(keep, total - missing)
        return max(keep, self.reserved_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSteps:
    """What steps take that no named image has, and the layers of each one's digest."""

    size_bytes: int
    layers: Mapping[str, Sequence[str]]


def oldest_first(
    steps: Iterable[BuildStep], caches: Iterable[CacheRecord], layers: Mapping[str, Sequence[str]]
) -> list[BuildStep | CacheRecord]:
    """In the order in which they are to go: what was used longest ago first.

    A step is used whenever one is that stands on it, and goes after it: alone it frees nothing.
    """
    used_at: dict[tuple[str, ...], int] = {}
    of_step = {step.key: (step, tuple(layers.get(step.digest, ()))) for step in steps}
    for step, own in of_step.values():
        for length in range(len(own) + 1):
            below = own[:length]
            used_at[below] = max(used_at.get(below, 0), step.used_at_ns)
    found: list[tuple[tuple[int, int], BuildStep | CacheRecord]] = [
        ((used_at[own], -len(own)), step) for step, own in of_step.values()
    ]
    found += [((cache.used_at_ns, 0), cache) for cache in caches]
    return [one for _, one in sorted(found, key=lambda each: each[0])]
