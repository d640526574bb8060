"""Building images from Dockerfiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .builder import Builder as Builder
    from .context import BuildContexts as BuildContexts
    from .errors import CommandFailed as CommandFailed
    from .prune import BuildPruneFilters as BuildPruneFilters
    from .prune import PrunedSteps as PrunedSteps
    from .prune import prune_steps as prune_steps
    from .request import BuildRequest as BuildRequest

__getattr__ = lazily.exports(
    __name__,
    {
        "builder": "Builder",
        "context": "BuildContexts",
        "errors": "CommandFailed",
        "prune": "BuildPruneFilters PrunedSteps prune_steps",
        "request": "BuildRequest",
    },
)
