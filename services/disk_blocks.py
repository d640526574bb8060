"""Blocks of a file system that are a file's before anything is written to them."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE

_libc: Final = ctypes.CDLL(None, use_errno=True)


def take_blocks(descriptor: int, *, offset: int, length: int) -> None:
    """Let an open file have blocks for these bytes; its length and content stay. Blocks.

    Those beyond the file's end go with the next `ftruncate`.

    Raises:
        OSError: there is no such room (ENOSPC), or the file system cannot do this (EOPNOTSUPP).
    """
    start, size = ctypes.c_int64(offset), ctypes.c_int64(length)
    if _libc.fallocate(descriptor, _KEEP_SIZE, start, size) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
