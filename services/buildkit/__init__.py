"""BuildKit's protocol, as buildx speaks it, in front of the engine's own builder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .face import BuildKit as BuildKit
    from .face import Sources as Sources

__getattr__ = lazily.exports(__name__, {"face": "BuildKit Sources"})
