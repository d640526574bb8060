"""Ingests that containerd has forgotten and whose folders it has left behind.

When a client leaves while the collector takes its ingest away, containerd 1.6 removes the folder's
files and then, ending the call, writes the time of the last change into it once more. The folder is
kept by that one file, and containerd never looks at it again: it knows an ingest by the name in the
folder's file `ref`, which it writes before all others. A folder that has lived for a while without
one is therefore no ingest that is under way.

Source: containerd, content/local/store.go (writer, WalkStatusRefs), writer.go (Close).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

SAFE_AGE_S: Final = 60.0
"""Since a folder's last change. Its name is written within the same millisecond as it is made."""


def remove_nameless(root: Path, older_than_s: float = SAFE_AGE_S) -> int:
    """Take away such folders below the content store's `root`; how many. Blocks on the disk.

    What cannot be removed, or has become an ingest again meanwhile, stays.

    Raises:
        OSError: the folder of ingests cannot be listed.
    """
    newest = time.time() - older_than_s
    removed = 0
    with os.scandir(root / "ingest") as folders:
        for folder in folders:
            with suppress(OSError):
                removed += _remove(Path(folder.path), newest)
    return removed


def _remove(folder: Path, newest: float) -> bool:
    if os.path.lexists(folder / "ref") or folder.lstat().st_mtime > newest:
        return False
    for name in os.listdir(folder):
        if os.path.lexists(folder / "ref"):
            return False  # somebody has begun it anew, and containerd writes its files again
        (folder / name).unlink()
    folder.rmdir()  # refuses when something has come in
    return True
