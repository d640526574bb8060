"""The three standard streams, and the frames that carry two of them over one connection."""

from __future__ import annotations

import enum
import struct
from typing import Final

_HEADER: Final = struct.Struct(">BxxxL")


class Stream(enum.IntEnum):
    """A standard stream; the value is its number in a frame's header."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2

    @property
    def label(self) -> str:
        """`stdin`, `stdout` or `stderr`, as it stands in logs."""
        return self.name.lower()


OUTPUTS: Final = frozenset({Stream.STDOUT, Stream.STDERR})


def frame_header(stream: Stream, size_bytes: int) -> bytes:
    """The eight bytes before `size_bytes` of payload of `stream`.

    Source: Engine API, POST /containers/{id}/attach, "Stream format".
    """
    return _HEADER.pack(stream, size_bytes)
