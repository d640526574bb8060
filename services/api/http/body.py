"""The body of an HTTP/1.1 request, as framed by its head. No I/O: bytes in, pieces of the body out.

Source: RFC 9112, 6 and 7. Chunk extensions are read over; trailers are checked and dropped.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from services.api.http.head import RequestHead, bad_request

_LINE_LIMIT_BYTES: Final = 4096
"""A chunk's size line or one trailer field; more is an attack, not a body."""

_CHUNKS_AT_ONCE: Final = 512
"""A body of one-byte chunks must not hold the loop for all that is in the buffer."""

_TRAILER_LIMIT_BYTES: Final = 16 * 1024
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\Z")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\Z")
_NEVER_IN_TRAILER: Final = (b"content-length:", b"transfer-encoding:", b"host:")


class BodyReader(Protocol):
    """Cuts one body out of the bytes of a connection."""

    done: bool

    def take(self, buffer: bytearray) -> bytes:
        """The next piece of the body off the front of `buffer`; b"" if it needs more or is done.

        Raises:
            ProtocolError: 400, the framing is broken and nothing after it can be trusted.
        """


class LengthReader:
    """A body of a length known from the start; 0 for a request without one."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0

    def claim(self, data: bytes) -> bool:
        """Whether all of `data`, read with nothing before it, is body; it counts as taken then."""
        if len(data) > self.remaining:
            return False
        self.remaining -= len(data)
        self.done = self.remaining == 0
        return True

    def take(self, buffer: bytearray) -> bytes:
        """See `BodyReader.take`."""
        size = min(len(buffer), self.remaining)
        if size == 0:
            return b""
        piece = bytes(buffer) if size == len(buffer) else bytes(memoryview(buffer)[:size])
        del buffer[:size]
        self.remaining -= size
        self.done = self.remaining == 0
        return piece


class ChunkedReader:
    """A body in chunks, then trailers. Each line ends with CRLF, nothing else."""

    __slots__ = ("_after_chunk", "_in_trailer", "_left", "_trailer_bytes", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # bytes of the present chunk still to come
        self._after_chunk = False  # a chunk's data has ended, its CRLF has not been read
        self._in_trailer = False
        self._trailer_bytes = 0

    def take(self, buffer: bytearray) -> bytes:
        """See `BodyReader.take`. Chunks that lie in `buffer` whole come out joined."""
        pieces: list[bytes] = []
        # One deletion at the end: deleting each line would be quadratic in tiny chunks.
        position = 0
        while not self.done and len(pieces) < _CHUNKS_AT_ONCE:
            if self._left:
                piece = bytes(memoryview(buffer)[position : position + self._left])
                if not piece:
                    break
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._after_chunk = self._left == 0
                continue
            if self._after_chunk and len(buffer) > position and buffer[position] != 0x0D:
                raise bad_request("malformed chunked encoding")  # now: its line may never end
            line, position = _line(buffer, position)
            if line is None:
                break
            self._take_line(line)
        del buffer[:position]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_line(self, line: bytes) -> None:
        if self._after_chunk:
            if line:
                raise bad_request("malformed chunked encoding")
            self._after_chunk = False
        elif self._in_trailer:
            self._take_trailer(line)
        else:
            match = _SIZE_LINE.match(line)
            if match is None:
                raise bad_request("malformed chunked encoding")
            self._left = int(match[1], 16)
            self._in_trailer = self._left == 0

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _TRAILER_LIMIT_BYTES or not _TRAILER.match(line):
            raise bad_request("malformed trailer")
        if line.lower().startswith(_NEVER_IN_TRAILER):
            raise bad_request("malformed trailer")


def _line(buffer: bytearray, position: int) -> tuple[bytes | None, int]:
    """The line at `position`, and where the next one starts; None while it is not complete."""
    end = buffer.find(b"\n", position, position + _LINE_LIMIT_BYTES)
    if end < 0:
        if len(buffer) - position >= _LINE_LIMIT_BYTES:
            raise bad_request("header line too long")
        return None, position
    line = bytes(buffer[position:end])
    if not line.endswith(b"\r") or b"\r" in line[:-1]:
        raise bad_request("malformed chunked encoding")
    return line[:-1], end + 1


def reader_for(head: RequestHead) -> BodyReader:
    """The reader that a request's head calls for."""
    return ChunkedReader() if head.chunked else LengthReader(head.content_length)
