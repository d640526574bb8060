"""Paths that the kernel resolves inside a root: no link and no `..` leads out of it.

Source: openat2(2), RESOLVE_IN_ROOT.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time
from functools import cache
from typing import Final

_OPENAT2: Final = 437  # on every architecture but alpha
_NO_MAGICLINKS, _IN_ROOT = 0x02, 0x10
_AT_ONCE: Final = 50
_PAUSED: Final = 200
_PAUSE_S: Final = 0.001


def open_in_root(root: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what `path` means below `root`, an open directory. Blocks.

    Links, absolute ones too, mean what they mean inside; those that the kernel makes up
    (/proc/PID/root) are not followed. The descriptor is closed at exec.

    Raises:
        OSError: the kernel's, with the path; EINVAL for a name with a zero byte.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, "a name holds a zero byte")
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGICLINKS)
    for attempt in range(_AT_ONCE + _PAUSED):
        if attempt >= _AT_ONCE:
            time.sleep(_PAUSE_S)
        result = _openat2(root, os.fsencode(path), how)
        if result >= 0:
            return result
        number = ctypes.get_errno()
        # A rename or mount anywhere on the host, while a `..` is resolved, makes the kernel give
        # up rather than be fooled: it is asked again.
        if number != errno.EAGAIN:
            break
    raise OSError(number, os.strerror(number), path)


def _openat2(root: int, path: bytes, how: bytes) -> int:
    return int(
        _libc().syscall(
            ctypes.c_long(_OPENAT2),
            ctypes.c_int(root),
            ctypes.c_char_p(path),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
    )


@cache  # a handle on what is loaded already; making one takes as long as a call of the kernel
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
