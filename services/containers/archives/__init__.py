"""A container's files as archives: copied in and out, exported, compared with its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .archives import Archives as Archives
    from .archives import CopyIn as CopyIn
    from .archives import RootFilesystems as RootFilesystems
    from .changes import Change as Change
    from .changes import ChangeKind as ChangeKind
    from .stat import PathStat as PathStat

__getattr__ = lazily.exports(
    __name__,
    {
        "archives": "Archives CopyIn RootFilesystems",
        "changes": "Change ChangeKind",
        "stat": "PathStat",
    },
)
