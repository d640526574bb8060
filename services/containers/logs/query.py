"""What a reader of logs asks for."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from services.containers.logs.feed import Extent
from services.containers.stdio.streams import OUTPUTS, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Parameters of GET /containers/{id}/logs.

    `tail` counts lines of the log, whatever their stream (as dockerd); None is all. Times are
    nanoseconds since the epoch, 0 is no bound. `multiplexed`: a frame for each line, else raw.
    `upto` ends the answer at an extent that a run announced; it excludes `follow`.
    """

    streams: Set[Stream] = OUTPUTS
    follow: bool = False
    tail: int | None = None
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    details: bool = False
    multiplexed: bool = True
    upto: Extent | None = None
