"""What the containers' parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from services.containers.journal import Journal

from .ground import GroundParts


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSources:
    """What the containers' parts share.

    `disk` bounds the threads that touch their files. `is_ending`: whether the daemon as a whole is
    asked to end, and not a part to restart.
    """

    ground: GroundParts
    journal: Journal
    disk: trio.CapacityLimiter
    is_ending: Callable[[], bool]

    @property
    def directory(self) -> Path:
        """Where containers' files lie."""
        return self.ground.current.settings().data_root / "containers"
