"""What a container has changed in its files, from the writable layer alone. Blocks.

Only what lies in the writable layer is looked at, so the cost is that of the changes and not of the
image. A directory that was replaced as a whole is compared with the one below it.

Source: Linux, Documentation/filesystems/overlayfs.rst: whiteouts, opaque and redirected
directories; moby, pkg/archive/changes.go: which differences count.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.errors import EngineError

from .root import DIRECTORY, PLACE, Root, reopen

MAX_DEPTH: Final = 400
_REPLACED: Final = ("trusted.overlay.opaque", "user.overlay.opaque")
_REDIRECTED: Final = ("trusted.overlay.redirect", "user.overlay.redirect")
_TABLE: Final = "/etc/mtab"
MOUNT_TABLE: Final = "/proc/mounts"
"""Where a container's own /etc/mtab leads to."""
# What making and starting a container puts into its layer: places for mounts, the engine's mark.
# Source: moby, daemon/initlayer/setup_unix.go; dockerd keeps them in a layer of their own.
_STARTS_OWN: Final = frozenset(
    (
        "/.dockerenv", "/dev", "/dev/console", "/dev/mqueue", "/dev/pts", "/dev/shm",  # noqa: S108
        "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/sys", "/etc",
        "/sbin", "/sbin/docker-init",
    )
)  # fmt: skip


class ChangeKind(enum.IntEnum):
    """The Engine API's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True, slots=True)
class Change:
    """A path, absolute, that is not as in the image."""

    path: str
    kind: ChangeKind


Visit = Callable[[Change], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """A container's files in three views: the writable layer, the image's, both together.

    `lower` is None where the image has no files at all.
    """

    upper: int
    lower: int | None
    merged: Root


def changes(trees: Trees, visit: Visit) -> None:
    """Call `visit` for every change, parents first, otherwise by name.

    Raises:
        OSError, EngineError: the trees cannot be read.
    """
    lower = None if trees.lower is None else open_beneath(trees.lower, ".")
    top = _Directory(path="", was_there=True, above=None)
    _Comparison(trees, visit).compare(top, open_beneath(trees.upper, "."), lower, whole=False)


class _OneIsEnough(Exception):
    """A change was found."""


def has_changes(trees: Trees) -> bool:
    """Whether there is any; ends with the first."""

    def stop(_change: Change) -> None:
        raise _OneIsEnough

    try:
        changes(trees, stop)
    except _OneIsEnough:
        return True
    return False


@dataclass(slots=True, kw_only=True)
class _Directory:
    """One that is being compared. It is told of before the first change in it."""

    path: str
    was_there: bool
    above: _Directory | None
    is_told: bool = False


class _Comparison:
    """Walks one directory after the other, beside the one at the same place in the image."""

    def __init__(self, trees: Trees, visit: Visit) -> None:
        self._trees, self._visit = trees, visit

    def compare(
        self, here: _Directory, upper: int, lower: int | None, *, whole: bool, depth: int = 0
    ) -> None:
        """Compare two open directories, and close them.

        `whole`: it hides the image's, and names that only the image has are deleted.
        """
        try:
            if depth > MAX_DEPTH:
                raise EngineError(f"directories are nested more than {MAX_DEPTH} deep")
            names = set(os.listdir(upper))
            gone = set(os.listdir(lower)) - names if whole and lower is not None else set()
            for name in sorted(names | gone):
                if name in gone:
                    self._tell(here, f"{here.path}/{name}", ChangeKind.DELETED)
                else:
                    self._compare_entry(here, name, upper, lower, whole=whole, depth=depth)
        finally:
            os.close(upper)
            if lower is not None:
                os.close(lower)

    def _compare_entry(
        self,
        here: _Directory,
        name: str,
        upper: int,
        lower: int | None,
        *,
        whole: bool,
        depth: int,
    ) -> None:
        path = f"{here.path}/{name}"
        try:
            found = os.open(name, PLACE | os.O_NOFOLLOW, dir_fd=upper)
        except FileNotFoundError:  # removed meanwhile
            return
        try:
            new, old = os.fstat(found), _status(lower, name)
            child = _Directory(path=path, was_there=old is not None, above=here)
            if _is_whiteout(new):
                if old is not None:
                    self._tell(here, path, ChangeKind.DELETED)
                return
            if (old is None and not _is_starts_own(path, new, found)) or (
                old is not None and differs(old, new)
            ):
                self._tell_directory(child)
            if stat.S_ISDIR(new.st_mode):
                self._descend(child, found, name, lower if _is_dir(old) else None, whole, depth)
        finally:
            os.close(found)

    def _descend(
        self,
        child: _Directory,
        found: int,
        name: str,
        lower: int | None,
        whole: bool,
        depth: int,
    ) -> None:
        """`lower` is the directory around the image's one of that name, None if it has none."""
        if not whole and _has(found, _REDIRECTED):
            inside, hides = self._trees.merged.open(child.path, DIRECTORY, follow=False), True
        else:
            inside = reopen(found, DIRECTORY)
            hides = whole or _has(found, _REPLACED)
        below = None if lower is None else open_beneath(lower, name)
        self.compare(child, inside, below, whole=hides, depth=depth + 1)

    def _tell_directory(self, directory: _Directory) -> None:
        """Also of a file: it is the directory in which nothing lies."""
        if directory.is_told or not directory.path:
            return
        directory.is_told = True
        kind = ChangeKind.MODIFIED if directory.was_there else ChangeKind.ADDED
        self._tell(directory.above, directory.path, kind)

    def _tell(self, above: _Directory | None, path: str, kind: ChangeKind) -> None:
        """Those above changed with it."""
        if above is not None:
            self._tell_directory(above)
        self._visit(Change(path, kind))


def _status(directory: int | None, name: str) -> os.stat_result | None:
    if directory is None:
        return None
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_dir(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def _is_starts_own(path: str, status: os.stat_result, found: int) -> bool:
    """`found` is the path itself, opened as a place."""
    if path not in _STARTS_OWN:
        return False
    if stat.S_ISLNK(status.st_mode):
        return path == _TABLE and os.readlink("", dir_fd=found) == MOUNT_TABLE
    return stat.S_ISDIR(status.st_mode) or status.st_size == 0


def open_beneath(directory: int, name: str) -> int:
    """The directory called `name` in an open one; no link."""
    return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _has(descriptor: int, names: tuple[str, ...]) -> bool:
    for name in names:
        with suppress(OSError):
            os.getxattr(f"/proc/self/fd/{descriptor}", name)
            return True
    return False


def differs(old: os.stat_result, new: os.stat_result) -> bool:
    """A directory's time and size follow its content and say nothing."""
    if (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
        return True
    if stat.S_ISDIR(old.st_mode):
        return False
    if (old.st_rdev, old.st_size) != (new.st_rdev, new.st_size):
        return True
    return old.st_mtime_ns != new.st_mtime_ns
