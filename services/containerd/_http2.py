"""HTTP/2's frames, as far as a gRPC client on a local socket needs them. No I/O.

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ._grpc import ProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES: Final = 16384  # the longest frame that either side may send unless told otherwise
DEFAULT_WINDOW_BYTES: Final = 65535
MAX_WINDOW_BYTES: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
HEADERS_LIMIT_BYTES: Final = 1024 * 1024

CANCEL: Final = 8  # an error code
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

SETTING_ENABLE_PUSH: Final = 2
SETTING_MAX_CONCURRENT_STREAMS: Final = 3
SETTING_INITIAL_WINDOW_SIZE: Final = 4
SETTING_MAX_FRAME_SIZE: Final = 5

_HEAD: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")


class FrameType(enum.IntEnum):
    """Those that we know; others are to be ignored."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came. `kind` is a `FrameType`, or one that we do not know."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    def content(self) -> bytes:
        """The payload of DATA or HEADERS without padding and priority.

        Raises:
            ProtocolError: more padding than payload.
        """
        start, end = 0, len(self.payload)
        if self.flags & PADDED:
            start, end = 1, end - (self.payload[0] if self.payload else end)
        if self.kind == FrameType.HEADERS and self.flags & PRIORITY:
            start += 5
        if start > end:
            raise ProtocolError("padding longer than its frame")
        return self.payload[start:end]

    def number(self) -> int:
        """The 31 bits of a WINDOW_UPDATE."""
        return int.from_bytes(self.payload[:4], "big") & MAX_WINDOW_BYTES

    def settings(self) -> Iterator[tuple[int, int]]:
        """Numbers and values of a SETTINGS frame.

        Raises:
            ProtocolError: it is cut off.
        """
        if len(self.payload) % _SETTING.size:
            raise ProtocolError("a SETTINGS frame of an odd length")
        yield from _SETTING.iter_unpack(self.payload)


def encode_frame(kind: FrameType, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame's bytes."""
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


def encode_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_SETTING.pack(number, value) for number, value in settings)
    return encode_frame(FrameType.SETTINGS, 0, 0, payload)


def encode_window_update(stream_id: int, size: int) -> bytes:
    """A WINDOW_UPDATE; stream 0 is the connection."""
    return encode_frame(FrameType.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big"))


def encode_reset(stream_id: int) -> bytes:
    """A RST_STREAM that calls a stream off."""
    return encode_frame(FrameType.RST_STREAM, 0, stream_id, CANCEL.to_bytes(4, "big"))


def take_frames(buffer: bytearray) -> Iterator[Frame]:
    """Every whole frame of `buffer`, taken out of it.

    Raises:
        ProtocolError: one is longer than we allow.
    """
    at = 0
    try:
        while len(buffer) - at >= _HEAD.size:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(buffer, at)
            size = (high << 16) | low
            if size > FRAME_BYTES:
                raise ProtocolError("a frame that is too long, or no frame")
            start = at + _HEAD.size
            if len(buffer) < start + size:
                return
            at = start + size
            yield Frame(kind, flags, stream_id & MAX_STREAM_ID, bytes(buffer[start:at]))
    finally:
        del buffer[:at]


def encode_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """A header block that refers to no table, so that it is the same each time, and can be kept."""
    parts: list[bytes] = []
    for name, value in headers:
        parts += [b"\0", _string(name), _string(value)]
    return b"".join(parts)


def _string(text: str) -> bytes:
    data = text.encode("ascii")
    return _integer(len(data)) + data


def _integer(value: int) -> bytes:
    """With a prefix of seven bits."""
    if value < 0x7F:
        return bytes([value])
    value -= 0x7F
    encoded = bytearray([0x7F])
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
