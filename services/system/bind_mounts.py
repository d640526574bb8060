"""Bind mounts of what is held open, at places of our own. Everything here blocks."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

_libc: Final = ctypes.CDLL(None, use_errno=True)


def bind(source: int, target: Path) -> None:
    """Mount what the descriptor `source` stands for at `target`, which is made.

    Raises:
        OSError: the kernel's.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.path.isdir(f"/proc/self/fd/{source}"):
        target.mkdir(mode=0o700)
    else:
        target.touch(mode=0o600)
    path = os.fsencode(f"/proc/self/fd/{source}")
    flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
    if _libc.mount(path, os.fsencode(target), None, flags, None) != 0:
        code = ctypes.get_errno()
        _delete(target)
        raise OSError(code, os.strerror(code))


def unbind(target: Path) -> None:
    """Undo `bind`, whatever of it was done. Who has it mounted elsewhere keeps it."""
    while _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        pass
    _delete(target)


def _delete(target: Path) -> None:
    """An empty directory or file of ours; never what is mounted there."""
    with suppress(OSError):
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()
