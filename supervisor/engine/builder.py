"""The builder, and what builds keep on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from services.build import BuildContexts, Builder
from services.containers.containers import Containers

from .ground import GroundParts

if TYPE_CHECKING:
    from services.build import CacheMounts

BUILD_THREADS: Final = 16  # a copy holds two, and a stage may wait for another's


def build_builder(ground: GroundParts, containers: Containers) -> Builder:
    """Make it."""
    data_root = ground.current.settings().data_root
    disk = trio.CapacityLimiter(BUILD_THREADS)

    def make_caches(cleared: trio.Event) -> CacheMounts:
        from services.build import CacheMounts, CacheStore

        return CacheMounts(CacheStore(data_root / "build-cache"), cleared=cleared, disk=disk)

    return Builder(
        containers=containers,
        images=ground.images,
        contexts=BuildContexts(data_root / "build", disk=disk),
        make_caches=make_caches,
        disk=disk,
    )
