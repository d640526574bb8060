"""What an archive held: its files, which are in the content store now, documents and links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.errors import InvalidParameter

from ._paths import clean_path
from .compression import Compression
from .reference import Digest

_MAX_LINKS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of the archive that is now in the content store."""

    digest: Digest
    size_bytes: int
    compression: Compression


@dataclass(slots=True)
class ArchiveFiles:
    """What an archive held, by clean path. Documents are the few that say what the rest means."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> StoredFile | None:
        """The file at `name`, through links.

        Raises:
            InvalidParameter: the name leaves the archive, or links go in circles.
        """
        path = clean_path(name)
        for _ in range(_MAX_LINKS):
            if path in self.files:
                return self.files[path]
            if path not in self.links:
                return None
            path = self.links[path]
        raise InvalidParameter(f"invalid archive: too many links from {name!r}")
