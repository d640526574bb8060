"""Standard streams of containers and execs: FIFOs, pump, attached sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .fifos import StdioPaths as StdioPaths
    from .fifos import open_readers as open_readers
    from .hub import AttachedStreams as AttachedStreams
    from .keeper import Keeper as Keeper
    from .lanes import Lanes as Lanes
    from .means import LogBuffer as LogBuffer
    from .spool import LogWriter as LogWriter
    from .stdio import Stdio as Stdio
    from .streams import Stream as Stream

__getattr__ = lazily.exports(
    __name__,
    {
        "fifos": "StdioPaths open_readers",
        "hub": "AttachedStreams",
        "keeper": "Keeper",
        "lanes": "Lanes",
        "means": "LogBuffer",
        "spool": "LogWriter",
        "stdio": "Stdio",
        "streams": "Stream",
    },
)
