"""Standard streams of containers and execs: FIFOs, pump, attached sessions."""

from __future__ import annotations

from services.containers.stdio.fifos import StdioPaths, open_readers
from services.containers.stdio.hub import AttachedStreams
from services.containers.stdio.keeper import Keeper
from services.containers.stdio.lanes import Lanes
from services.containers.stdio.means import LogBuffer
from services.containers.stdio.spool import LogWriter
from services.containers.stdio.stdio import Stdio
from services.containers.stdio.streams import Stream

__all__ = [
    "AttachedStreams",
    "Keeper",
    "Lanes",
    "LogBuffer",
    "LogWriter",
    "Stdio",
    "StdioPaths",
    "Stream",
    "open_readers",
]
