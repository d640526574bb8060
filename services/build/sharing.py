"""How a cache of `RUN --mount=type=cache` is shared."""

from __future__ import annotations

import enum


class Sharing(enum.Enum):
    """What a cache is to those that want it at the same time.

    All of them write to it; each gets one of its own; one waits for the other.
    """

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"
