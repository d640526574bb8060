"""Room at the end of a log's file for the line that says what is missing.

When the disk is full the log's lines are dropped, and the container may end before there is room
again. So the file has blocks beyond its end, for one more line at least: a write that would use
them up without getting others is refused before it begins.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.disk_blocks import take_blocks

STEP_BYTES: Final = 64 * 1024
"""Taken at once, so that a container that writes line by line does not ask for each of them."""

_CANNOT: Final = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))


class Reserve:
    """The blocks that one log's newest file has. For whoever may write the log. All calls block."""

    def __init__(self) -> None:
        self._end = 0  # blocks up to here are the file's
        self._is_possible = True  # else the disk's room is anybody's, as without a reserve

    def begin(self, descriptor: int, size: int, note_bytes: int) -> None:
        """Another file is the newest one; it ends at `size`. Without room there is no reserve."""
        self._end = size  # what is before it has its blocks, or is a hole that stays one
        with suppress(OSError):
            self.cover(descriptor, size, note_bytes)

    def cover(self, descriptor: int, end: int, note_bytes: int) -> None:
        """Have blocks for what ends at `end`, and behind it for a line of `note_bytes`.

        Raises:
            OSError: the disk has none; what the file has stays its own.
        """
        needed = end + note_bytes
        if not self._is_possible or needed <= self._end:
            return
        for wanted in (needed + STEP_BYTES, needed):
            try:
                take_blocks(descriptor, offset=self._end, length=wanted - self._end)
            except OSError as error:
                if error.errno in _CANNOT:
                    self._is_possible = False
                    return
                if error.errno != errno.ENOSPC or wanted == needed:
                    raise
            else:
                self._end = wanted
                return


def has_room(path: Path) -> bool:
    """Whether another file beside this one could get its reserve. Blocks."""
    found = os.statvfs(path.parent)
    return found.f_bfree * found.f_frsize > STEP_BYTES
