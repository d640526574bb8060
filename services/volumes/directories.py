"""The directories that hold the volumes' data. Everything here blocks.

<root>/<name>/_data      what containers see
<root>/<name>/.copying   files of an image on their way into it, not complete
<root>/<name>/.copied    the same, complete: they are being moved into place
<root>/.removing-<hex>   a volume on its way out, under a name that no volume can have
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

DATA: Final = "_data"
_REMOVING: Final = ".removing-"
_DATA_MODE: Final = 0o755
_OWN_MODE: Final = 0o701  # containers' users may pass, and list nothing


class VolumeDirectories:
    """The directories under `root`. Names have been checked: they cannot lead elsewhere."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> Path:
        """Where a volume's data lies. No I/O."""
        return self.root / name / DATA

    def make(self, name: str) -> None:
        """Make a volume's directories; those that are there stay as they are."""
        self._make_root()
        own = self.root / name
        with suppress(FileExistsError):
            own.mkdir(mode=_OWN_MODE)
        with suppress(FileExistsError):
            self.data(name).mkdir(mode=_DATA_MODE)
            self.data(name).chmod(_DATA_MODE)  # whatever the umask

    def names(self) -> list[str]:
        """The names of the volumes that have a directory for data."""
        if not self.root.is_dir():
            return []
        return [
            entry.name
            for entry in os.scandir(self.root)
            if not entry.name.startswith(".") and self.data(entry.name).is_dir()
        ]

    def set_aside(self, name: str) -> Path | None:
        """Take a volume's directories out of everybody's sight in one step; None: there are none.

        Raises:
            OSError: something is mounted there, for instance.
        """
        aside = self.root / f"{_REMOVING}{secrets.token_hex(8)}"
        try:
            (self.root / name).rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def leftovers(self) -> list[Path]:
        """What removals that were cut short have set aside."""
        if not self.root.is_dir():
            return []
        return [Path(e.path) for e in os.scandir(self.root) if e.name.startswith(_REMOVING)]

    def size_bytes(self, name: str) -> int:
        """The bytes of all files of a volume, a file with several names once. Crosses no mounts."""
        from services.tree_bytes import tree_bytes  # a start needs none of it

        return tree_bytes(self.data(name))

    def _make_root(self) -> None:
        self.root.mkdir(mode=_OWN_MODE, parents=True, exist_ok=True)


def delete_tree(path: Path) -> None:
    """Delete what was set aside. Never follows a link."""
    shutil.rmtree(path)
