"""Building images from Dockerfiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .builder import Builder as Builder
    from .cache_mounts import CacheMounts as CacheMounts
    from .cache_mounts import CacheUsage as CacheUsage
    from .cache_store import CacheRecord as CacheRecord
    from .cache_store import CacheStore as CacheStore
    from .context import BuildContexts as BuildContexts
    from .errors import CommandFailed as CommandFailed
    from .prune import BuildPruneFilters as BuildPruneFilters
    from .prune import CachePruner as CachePruner
    from .prune import PrunedCache as PrunedCache
    from .prune_limits import KeptSteps as KeptSteps
    from .prune_limits import PruneLimits as PruneLimits
    from .request import BuildRequest as BuildRequest

__getattr__ = lazily.exports(
    __name__,
    {
        "builder": "Builder",
        "cache_mounts": "CacheMounts CacheUsage",
        "cache_store": "CacheRecord CacheStore",
        "context": "BuildContexts",
        "errors": "CommandFailed",
        "prune": "BuildPruneFilters CachePruner PrunedCache",
        "prune_limits": "KeptSteps PruneLimits",
        "request": "BuildRequest",
    },
)
