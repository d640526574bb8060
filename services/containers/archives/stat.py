"""What one path of a container is, in the words of Docker's header. Blocks.

Source: Engine API, HEAD /containers/{id}/archive; moby, daemon/containerfs_linux.go; Go's
io/fs.FileMode, whose bits are in `mode`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from dataclasses import dataclass
from typing import Final

from .root import PLACE, Root

_MAX_LINKS: Final = 255

_TYPE_BITS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_OTHER_BITS: Final = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """`mode` has Go's bits. `link_target` is where a link leads inside the container, else ""."""

    name: str
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: str = ""

    @property
    def is_link(self) -> bool:
        """Whether the path itself is a symbolic link."""
        return bool(self.mode & _TYPE_BITS[stat.S_IFLNK])


def absolute(path: str) -> str:
    """A client's path from the root, worked out; `/` or `/.` at its end means something and stays.

    Source: Go's filepath.Join, and dockerd's care for what it takes away.
    """
    joined = posixpath.normpath("/" + path.lstrip("/"))
    last = path.rpartition("/")[2]
    if last == "." and not joined.endswith("/."):
        return joined.rstrip("/") + "/."
    if path.endswith("/") and joined != "/":
        return joined + "/"
    return joined


def base_name(path: str) -> str:
    """Go's filepath.Base."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def stat_path(root: Root, path: str) -> PathStat:
    """What is at `path`, which `absolute` made; a link itself, not what it points to.

    Raises:
        OSError: there is nothing, or it cannot be reached.
    """
    with root.opened(path, PLACE, follow=path.endswith(("/", "/."))) as found:
        status = os.fstat(found)
        is_link = stat.S_ISLNK(status.st_mode)
        target = followed(root, path) if is_link else ""
    return PathStat(
        name=base_name(path),
        size_bytes=status.st_size,
        mode=go_mode(status.st_mode),
        mtime_ns=status.st_mtime_ns,
        link_target=target,
    )


def go_mode(mode: int) -> int:
    """A mode of stat(2) with Go's bits."""
    bits = stat.S_IMODE(mode) & 0o777 | _TYPE_BITS.get(stat.S_IFMT(mode), 0)
    return bits | sum(go for unix, go in _OTHER_BITS if mode & unix)


def followed(root: Root, path: str) -> str:
    """`path` without links and dots, all of it that there is; what is missing stays as it is."""
    done, pending, links = "/", path.strip("/").split("/"), 0
    while pending:
        name = pending.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            done = posixpath.dirname(done)
            continue
        there = posixpath.join(done, name)
        target = _link_at(root, there)
        if target is None:
            done = there
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done = "/"
        pending[:0] = target.split("/")
    return done


def _link_at(root: Root, path: str) -> str | None:
    """The text of the link at `path`; None when it is none, or nothing."""
    try:
        with root.opened(path, PLACE, follow=False) as found:
            if stat.S_ISLNK(os.fstat(found).st_mode):
                return os.readlink("", dir_fd=found)
    except OSError:
        pass
    return None
