"""The /dev/shm of containers that let others join their IPC namespace.

A tmpfs of the host's, held at `<directory>/<container id>` for the length of a run and bound into
the container and into those that join it. The directory tells after a crash which there are.
Every function blocks for about a millisecond and is called in a thread.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MNT_DETACH: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)


class SharedMemory:
    """Makes and drops them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, container_id: str) -> Path:
        """Where a container's is held while it runs."""
        return self._directory / container_id

    def is_held(self, container_id: str) -> bool:
        """Whether there is one."""
        return self.path(container_id).is_dir()

    def make(self, container_id: str, size_bytes: int) -> Path:
        """An empty one; what an earlier run has left is dropped. Raises OSError."""
        self.drop(container_id)
        path = self.path(container_id)
        # Everybody may write to a /dev/shm, but of the host only root is to get there.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        data = f"mode=1777,size={size_bytes}".encode()
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        try:
            _checked(_libc.mount(b"shm", os.fsencode(path), b"tmpfs", flags, data))
        except BaseException:
            path.rmdir()
            raise
        return path

    def drop(self, container_id: str) -> None:
        """Let go of one: who has it bound keeps it. Gone already is fine."""
        path = self.path(container_id)
        with suppress(OSError):
            while True:  # a start that was cut short may have left one below another
                _checked(_libc.umount2(os.fsencode(path), MNT_DETACH))
        with suppress(FileNotFoundError):
            path.rmdir()

    def held(self) -> list[str]:
        """The ids of the containers that have one, alive or not."""
        return sorted(os.listdir(self._directory)) if self._directory.is_dir() else []


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
