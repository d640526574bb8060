"""How far a stage of a build has come, and the key that says what that was made of."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from services.images import HistoryEntry, Image, Platform, RunConfig
from services.images.instructions import SHELL
from services.images.times import rfc3339_ns


@dataclass(slots=True, kw_only=True)
class StageState:
    """How far a stage has come. `pending` are the steps since `image` was made."""

    image: Image
    key: str
    config: RunConfig
    platform: Platform
    author: str = ""
    shell: Sequence[str] = SHELL
    has_command: bool = False  # a CMD of this stage, which an ENTRYPOINT does not reset
    arguments: dict[str, str] = field(default_factory=dict)
    pending: list[HistoryEntry] = field(default_factory=list)

    def mix(self, *parts: object) -> str:
        """The key of a step that follows this one."""
        return mixed(self.key, *parts)


def mixed(*parts: object) -> str:
    """A key made of all parts, in order."""
    # A script may hold any byte, which has to make a difference.
    texts = [str(part).encode("utf-8", "backslashreplace").decode() for part in parts]
    encoded = msgspec.json.encode(texts)
    return hashlib.sha256(encoded).hexdigest()


def history_entry(created_by: str, *, is_empty: bool, author: str) -> HistoryEntry:
    """A line of the history, of now."""
    return HistoryEntry(
        created=rfc3339_ns(time.time_ns()),
        created_by=created_by,
        author=author or None,
        empty_layer=is_empty or None,
    )
