"""The least of ttrpc: one call on a connection, and its answer. No I/O, and no imports that cost.

A frame is a header, its length, its stream, its kind and its flags, and a message of protobuf's;
spelled out here, because who starts containerd ahead has imported nothing that would do it.

Source: containerd/ttrpc, PROTOCOL.md and request.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

FRAME_MAX_BYTES: Final = 4 * 1024 * 1024

_HEADER: Final = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
_STREAM: Final = 1  # the first of a client
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def request_frame(service: str, method: str, payload: bytes) -> bytes:
    """The call, as it is sent."""
    request = b"".join(
        bytes_field(number, value)
        for number, value in ((1, service.encode()), (2, method.encode()), (3, payload))
    )
    return _HEADER.pack(len(request), _STREAM, _REQUEST, 0) + request


def response_payload(data: bytes) -> bytes | None:
    """The answer to the one call, of what has arrived; None while it is not whole, or a refusal.

    Raises ValueError: this is no ttrpc.
    """
    if len(data) < _HEADER.size:
        return None
    length, stream, kind, _flags = _HEADER.unpack_from(data)
    if length > FRAME_MAX_BYTES or (stream, kind) != (_STREAM, _RESPONSE):
        raise ValueError(f"not the answer to a call: {data[: _HEADER.size].hex()}")
    message = data[_HEADER.size : _HEADER.size + length]
    if len(message) < length:
        return None
    found = dict(fields(message))
    status = dict(fields(_as_bytes(found.get(1, b""))))
    return _as_bytes(found.get(2, b"")) if status.get(1, 0) == 0 else None


def bytes_field(number: int, value: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message by their numbers. Raises ValueError when it is cut off."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _read_varint(message, at)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("message is cut off")
        yield number, message[at : at + size]
        at += size


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("message is cut off")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")  # noqa: TRY004 (of what came in)
    return value
