"""gRPC's vocabulary: statuses, kinds of calls, and its way to put messages into a stream of bytes.

Source: grpc, doc/PROTOCOL-HTTP2.md and doc/statuscodes.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

MESSAGE_LIMIT_BYTES: Final = 64 * 1024 * 1024  # containerd's own is 16 MB
_PREFIX_BYTES: Final = 5  # a flag (compressed), the length


class Status(enum.IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Cardinality(enum.Enum):
    """Which side of a call sends a stream of messages: the client's, then the server's."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)


class GRPCError(Exception):
    """A call ended with another status than OK."""

    def __init__(self, status: Status, message: str = "") -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class ProtocolError(Exception):
    """The peer does not speak HTTP/2 and gRPC as it should."""


def frame_message(message: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def take_message(buffer: bytearray) -> bytes | None:
    """The first message of `buffer`, taken out of it; None while it is not whole.

    Raises:
        ProtocolError: it is compressed, which we did not offer, or too long.
    """
    if len(buffer) < _PREFIX_BYTES:
        return None
    end = _PREFIX_BYTES + int.from_bytes(buffer[1:_PREFIX_BYTES], "big")
    if buffer[0] or end > MESSAGE_LIMIT_BYTES:
        raise ProtocolError("a message that is compressed or too long")
    if len(buffer) < end:
        return None
    message = bytes(memoryview(buffer)[_PREFIX_BYTES:end])
    del buffer[:end]
    return message


def status_error(headers: Mapping[str, str]) -> GRPCError | None:
    """What the last headers of a call say; None if all is well."""
    text = headers.get("grpc-status")
    if text is None:
        http = headers.get(":status", "none")
        return GRPCError(Status.UNKNOWN, f"no gRPC status; HTTP status {http}")
    message = unquote(headers.get("grpc-message", ""))
    try:
        status = Status(int(text))
    except ValueError:
        return GRPCError(Status.UNKNOWN, message)
    return None if status is Status.OK else GRPCError(status, message)
