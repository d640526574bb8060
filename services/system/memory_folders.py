"""Folders whose files are in memory alone: a tmpfs each, which only root of the host can enter.

Blocks. Source: mount(2), tmpfs(5).
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MNT_DETACH: Final = 2
_libc: Final = ctypes.CDLL(None, use_errno=True)


def mount_memory(folder: Path, size_bytes: int) -> None:
    """Lay a tmpfs over `folder`, which is there. Raises OSError."""
    data = f"mode=0700,size={size_bytes}".encode()
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unmount_memory(folder: Path) -> None:
    """Take the tmpfs away with all that is in it, and the folder. Not there is as good."""
    if not folder.exists():
        return
    while _libc.umount2(os.fsencode(folder), _MNT_DETACH) == 0:
        pass  # a start that was cut short may have left one over another
    with suppress(FileNotFoundError):
        folder.rmdir()
