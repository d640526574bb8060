"""The settings `features`: words that switch parts of the engine on and off."""

from __future__ import annotations

from typing import Final

ON: Final = ("true", "1")
OFF: Final = ("false", "0")
EITHER: Final = (*ON, *OFF)


def has_buildkit(features: tuple[tuple[str, str], ...]) -> bool:
    """Whether clients are to build by BuildKit's protocol, which is so unless it is said."""
    return dict(features).get("buildkit", "true").lower() in ON
