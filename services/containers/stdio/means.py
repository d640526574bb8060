"""What streams with a log may be given besides: somebody who holds their pipes, and a buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.containers.stdio.buffered import DropCounts


class PipeKeeper(Protocol):
    """Holds read ends open, also while we are dead. Neither method blocks."""

    def hold(self, name: str, fifos: Sequence[Path]) -> None:
        """Hold these, unless they are held."""

    def drop(self, name: str) -> None:
        """Let go of them, if they are held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBuffer:
    """A log in non-blocking mode: what may wait for it of each stream, and who counts the rest."""

    size_bytes: int
    counts: DropCounts
