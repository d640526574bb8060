"""How much a directory tree holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def tree_bytes(top: Path) -> int:
    """The bytes of all files below `top`, a file with several names once. Blocks.

    Crosses no mounts. What goes meanwhile does not count; nothing at `top` is 0.
    """
    try:
        device = os.lstat(top).st_dev
    except FileNotFoundError:
        return 0
    seen: set[int] = set()
    total = 0
    for entry in _walk(top):
        with suppress(OSError):  # it went while we looked
            found = entry.stat(follow_symlinks=False)
            if found.st_dev != device or found.st_ino in seen:
                continue
            if found.st_nlink > 1:
                seen.add(found.st_ino)
            total += found.st_size if entry.is_file(follow_symlinks=False) else 0
    return total


def _walk(top: Path) -> Iterator[os.DirEntry[str]]:
    pending = [os.fspath(top)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # it went while we looked
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False) and not os.path.ismount(entry.path):
                pending.append(entry.path)
