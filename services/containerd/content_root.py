"""Where containerd's own content store keeps its files, if we can see them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.errors import EngineError

from .introspection import Introspection

_PLUGIN: Final = "type==io.containerd.content.v1,id==content"


class ContentRoot:
    """Asks containerd once. A content store of another kind, or elsewhere, has no root for us."""

    def __init__(self, introspection: Introspection) -> None:
        self._introspection = introspection
        self._root: Path | None = None
        self._is_known = False

    async def get(self) -> Path | None:
        """The folder with `blobs` and `ingest` in it."""
        if not self._is_known:
            try:
                plugins = await self._introspection.plugins(_PLUGIN)
            except EngineError:
                return None  # asked again next time
            root = Path(next((p.exports["root"] for p in plugins if "root" in p.exports), ""))
            # Its folder for blobs comes with the first blob.
            if root.is_absolute() and (root / "ingest").is_dir():
                self._root = root
            self._is_known = bool(plugins)
        return self._root
