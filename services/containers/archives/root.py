"""A directory tree that nothing can lead out of: every path is resolved by the kernel inside it.

A link to `/etc` means the tree's own `/etc`, `..` ends at the tree's root, and links that the
kernel makes up (/proc/PID/root) are not followed at all. All calls block: for worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from services.system.in_root import open_in_root

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
PLACE: Final = os.O_PATH | os.O_CLOEXEC


@dataclass(slots=True, kw_only=True)
class Root:
    """An open tree. `close` it; what is kept open for its sake is closed with it.

    `alien_devices` are file systems of the kernel's own (proc, sysfs) that the container sees:
    they hold nothing of its files, and are neither read nor written.
    """

    fd: int
    kept: Sequence[int] = ()
    alien_devices: frozenset[int] = frozenset()
    _is_open: bool = field(default=True, init=False)

    def open(self, path: str, flags: int = PLACE, *, follow: bool = True) -> int:
        """A descriptor of what `path` means in the tree; links on the way are followed.

        Raises:
            OSError: as open(2). ENOENT too for what lies in a file system that is none of files.
        """
        if not follow:
            flags |= os.O_NOFOLLOW
        found = open_in_root(self.fd, path.lstrip("/") or ".", flags)
        if self.alien_devices and os.fstat(found).st_dev in self.alien_devices:
            os.close(found)
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    @contextmanager
    def opened(self, path: str, flags: int = PLACE, *, follow: bool = True) -> Iterator[int]:
        """As `open`; closed after the block."""
        found = self.open(path, flags, follow=follow)
        try:
            yield found
        finally:
            os.close(found)

    def is_alien(self, status: os.stat_result) -> bool:
        """Whether it lies in a file system of the kernel's own."""
        return status.st_dev in self.alien_devices

    def close(self) -> None:
        """Give the tree up. May be called again."""
        if self._is_open:
            self._is_open = False
            for descriptor in (self.fd, *self.kept):
                os.close(descriptor)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def is_directory(descriptor: int) -> bool:
    """Whether an open file is one."""
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def reopen(descriptor: int, flags: int) -> int:
    """The file of an O_PATH descriptor, opened for use. For files that are known to be plain."""
    return os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)
