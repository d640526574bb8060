"""A program: copy the files in one open directory into another. The standard library alone.

    python -I -S copy_tree.py SOURCE_FD TARGET_FD

A process of its own: twenty thousand small files would hold up the engine's loop, and a copy that
nobody waits for any more can be killed. Owners, modes, times, extended attributes, links, hard
links, devices and sparse files are kept. Every file is made anew below the target's descriptor and
no link is followed, so that nothing is written elsewhere, whoever changes the target meanwhile.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

CHUNK = 1 << 30
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeCopy:
    """One copy; `_linked` maps inodes of the source to descriptors and names in the target."""

    def __init__(self, target: int) -> None:
        self._top = target
        self._linked: dict[tuple[int, int], str] = {}

    def copy_directory(self, source: int, target: int, place: str = "") -> None:
        """What is in `source`, and then its own attributes: they would be changed by filling it."""
        for name in sorted(os.listdir(source)):
            self._copy_entry(source, target, name, f"{place}{name}")
        copy_attributes(source, target)

    def _copy_entry(self, source: int, target: int, name: str, place: str) -> None:
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        key = (found.st_dev, found.st_ino)
        kind = stat.S_IFMT(found.st_mode)
        if kind != stat.S_IFDIR and found.st_nlink > 1:
            if key in self._linked:
                os.link(
                    self._linked[key],
                    name,
                    src_dir_fd=self._top,
                    dst_dir_fd=target,
                    follow_symlinks=False,
                )
                return
            self._linked[key] = place
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            inner_source = os.open(name, DIRECTORY, dir_fd=source)
            inner_target = os.open(name, DIRECTORY, dir_fd=target)
            try:
                self.copy_directory(inner_source, inner_target, f"{place}/")
            finally:
                os.close(inner_source)
                os.close(inner_target)
        elif kind == stat.S_IFREG:
            self._copy_file(source, target, name)
        else:
            self._copy_node(source, target, name, found)

    def _copy_node(self, source: int, target: int, name: str, found: os.stat_result) -> None:
        """What has no data of its own: symbolic links, pipes, sockets, devices."""
        is_link = stat.S_ISLNK(found.st_mode)
        if is_link:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        if not is_link:
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
        times = (found.st_atime_ns, found.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)

    def _copy_file(self, source: int, target: int, name: str) -> None:
        reading = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source
        )
        try:
            writing = os.open(name, NEW_FILE, 0o600, dir_fd=target)
            try:
                copy_data(reading, writing)
                copy_attributes(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def copy_data(source: int, target: int) -> None:
    """The bytes of a file; holes stay holes."""
    size = os.fstat(source).st_size
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        left = end - start
        while left:
            sent = os.sendfile(target, source, None, min(left, CHUNK))
            if not sent:
                return
            left -= sent
        at = end
    os.ftruncate(target, size)


def copy_attributes(source: int, target: int) -> None:
    """Owner, mode, extended attributes and times, of a file or a directory."""
    found = os.fstat(source)
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source):
        with suppress(OSError):  # a file system that has none of that kind
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def main() -> int:
    """Copy; an error goes to standard error as one line."""
    source, target = int(sys.argv[1]), int(sys.argv[2])
    os.umask(0)
    try:
        TreeCopy(target).copy_directory(source, target)
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
