"""Places that mounts need in an image: what was made for them goes again. Blocks.

Source: BuildKit, executor/stubs.go.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from contextlib import suppress

from services.containers.archives.root import PLACE, Root, reopen
from services.containers.archives.stat import followed


def missing_places(root: Root, targets: Iterable[str]) -> list[str]:
    """What will have to be made so that something can be mounted at `targets`; deepest first.

    Links are taken as inside the root.
    """
    missing: set[str] = set()
    for target in targets:
        place = followed(root, target)
        while place != "/" and place not in missing and not _is_there(root, place):
            missing.add(place)
            place = posixpath.dirname(place)
    return sorted(missing, key=lambda place: -place.count("/"))


def remove_places(root: Root, places: Iterable[str]) -> None:
    """Take away those of `places`, deepest first, that nothing was put into.

    The directories that they were in keep their times.
    """
    for place in places:
        above, _, name = place.rpartition("/")
        with (
            suppress(OSError),  # it went with the command, or holds something
            root.opened(above or "/", PLACE | os.O_DIRECTORY, follow=False) as opened,
        ):
            directory = reopen(opened, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _remove_empty(directory, name)
            finally:
                os.close(directory)


def _remove_empty(directory: int, name: str) -> None:
    times = os.fstat(directory)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(name, dir_fd=directory)  # ENOTEMPTY where there is something in it
    elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
        os.unlink(name, dir_fd=directory)
    else:
        return
    os.utime(directory, ns=(times.st_atime_ns, times.st_mtime_ns))


def _is_there(root: Root, path: str) -> bool:
    try:
        with root.opened(path, PLACE, follow=False):
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False
