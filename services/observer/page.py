"""The page and what it is made of: files of ours and vendored ones, read once, named in advance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio

FOLDER: Final = Path(__file__).parent / "web"
INDEX: Final = "index.html"

PAGE_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # No script and no style but our own files, no connection but to where the page is from,
        # and nobody shows it in a frame.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
)

_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
    }
)


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file."""

    content_type: str
    body: bytes


class Page:
    """Hands out the files of a folder. A name that is none of them leads nowhere."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._files: Mapping[str, WebFile] | None = None

    async def file(self, name: str) -> WebFile | None:
        """The file of that name; the empty name is the page itself."""
        if self._files is None:
            self._files = await trio.to_thread.run_sync(self._read)
        return self._files.get(name or INDEX)

    def _read(self) -> Mapping[str, WebFile]:
        return {
            str(path.relative_to(self._folder)): WebFile(_TYPES[path.suffix], path.read_bytes())
            for path in sorted(self._folder.rglob("*"))
            if path.suffix in _TYPES and path.is_file()
        }
