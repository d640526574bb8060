"""Building images from Dockerfiles."""

from .builder import Builder as Builder
from .context import BuildContexts as BuildContexts
from .errors import CommandFailed as CommandFailed
from .prune import BuildPruneFilters as BuildPruneFilters
from .prune import PrunedSteps as PrunedSteps
from .prune import prune_steps as prune_steps
from .request import BuildRequest as BuildRequest
