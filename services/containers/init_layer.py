"""What a new container has besides its image's files: `/.dockerenv` and `/etc/mtab`. Blocks.

Programs know by the first that they run in a container; older ones read the second to see what is
mounted. dockerd keeps both in a layer of their own; here they are in the container's, and
`archives/changes.py` leaves them out. Source: moby, daemon/initlayer/setup_unix.go.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.containerd import Mount
from services.containers.archives.changes import MOUNT_TABLE

_OPAQUE: Final = "trusted.overlay.opaque"
_OVERLAYS_OWN: Final = ("trusted.overlay.", "user.overlay.")  # true of the layer that has them
_NOT_HERE: Final = (errno.EOPNOTSUPP, errno.EPERM)  # of a file system that knows no such attribute


def fill_init_layer(mounts: Sequence[Mount]) -> None:
    """Make what is missing in the layer that `mounts` says can be written.

    That layer is new and empty, so no link can lead a path elsewhere.
    """
    for mount in mounts:
        upper = _option(mount, "upperdir=") or (mount.source if mount.type == "bind" else "")
        if upper:
            (Path(upper) / ".dockerenv").touch(mode=0o755)
            lower = _option(mount, "lowerdir=")
            _link_mount_table(Path(upper), [Path(text) for text in lower.split(":") if text])


def _option(mount: Mount, prefix: str) -> str:
    return next((o.removeprefix(prefix) for o in mount.options if o.startswith(prefix)), "")


def _link_mount_table(upper: Path, lowers: Sequence[Path]) -> None:
    """`/etc/mtab`, unless the image has one, or its `/etc` is no directory. `lowers`: top first.

    An `/etc` in the upper layer stands before the image's: it is as that one, see `_liken`.
    """
    shown: Path | None = None
    for lower in lowers:
        etc = lower / "etc"
        found = _lstat(etc)
        if found is None:
            continue
        if _is_whiteout(found):
            break
        if not stat.S_ISDIR(found.st_mode):
            return
        shown = shown or etc
        table = _lstat(etc / "mtab")
        if table is not None:
            if not _is_whiteout(table):
                return
            break
        if _is_opaque(etc):
            break
    directory = upper / "etc"
    directory.mkdir(mode=0o755)
    (directory / "mtab").symlink_to(MOUNT_TABLE)
    if shown is not None:
        _liken(directory, shown)


def _liken(directory: Path, other: Path) -> None:
    """What overlayfs would copy if it copied `other` up: owner, mode, attributes and times."""
    found = other.lstat()
    os.chown(directory, found.st_uid, found.st_gid)
    for name in os.listxattr(other, follow_symlinks=False):
        if not name.startswith(_OVERLAYS_OWN):
            try:
                os.setxattr(directory, name, os.getxattr(other, name))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
    directory.chmod(stat.S_IMODE(found.st_mode))
    os.utime(directory, ns=(found.st_atime_ns, found.st_mtime_ns))


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(directory: Path) -> bool:
    with suppress(OSError):
        return os.getxattr(directory, _OPAQUE) == b"y"
    return False
