"""A container's files as archives: copied in and out, exported, compared with its image."""

from __future__ import annotations

from .archives import Archives as Archives
from .archives import CopyIn as CopyIn
from .archives import RootFilesystems as RootFilesystems
from .changes import Change as Change
from .changes import ChangeKind as ChangeKind
from .stat import PathStat as PathStat
