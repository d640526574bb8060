"""Compressed log files: gzip, with what a reader asks first in the header's extra field.

dockerd writes the time of the last line there too, as JSON under no subfield; so do we, and the
number of lines beside it. A file without that, or with something else, is read all the same.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

_STEP_BYTES: Final = 256 * 1024
_HEAD: Final = struct.Struct("<BBBBIBB")
_EXTRA_SIZE: Final = struct.Struct("<H")
_TAIL: Final = struct.Struct("<II")
_MAGIC: Final = (0x1F, 0x8B, 8)
_HAS_EXTRA: Final = 4
_UNIX: Final = 3
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Contents:
    """What the header tells of a compressed file's records. None: it does not say."""

    last_time_ns: int | None = None
    lines: int | None = None


def pack(
    source: BinaryIO, target: BinaryIO, contents: Contents, checkpoint: Callable[[], object]
) -> None:
    """Write `source` compressed to `target`. Blocks for about a second for each 20 MB.

    `checkpoint` is called often; what it raises ends the work.
    """
    extra = json.dumps({"lastTimeNs": contents.last_time_ns, "lines": contents.lines}).encode()
    target.write(
        _HEAD.pack(*_MAGIC, _HAS_EXTRA, 0, 0, _UNIX) + _EXTRA_SIZE.pack(len(extra)) + extra
    )
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    total = size = 0
    while block := source.read(_STEP_BYTES):
        checkpoint()
        total, size = zlib.crc32(block, total), size + len(block)
        target.write(deflate.compress(block))
    target.write(deflate.flush() + _TAIL.pack(total, size & 0xFFFFFFFF))


def read_contents(packed: BinaryIO) -> Contents:
    """What the header at the front of a compressed file says."""
    head = packed.read(_HEAD.size + _EXTRA_SIZE.size)
    if len(head) < _HEAD.size + _EXTRA_SIZE.size or not head[3] & _HAS_EXTRA:
        return Contents()
    (size,) = _EXTRA_SIZE.unpack_from(head, _HEAD.size)
    try:
        found = json.loads(packed.read(size))
        return Contents(_number(found.get("lastTimeNs")), _number(found.get("lines")))
    except (ValueError, AttributeError):
        return Contents()


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
