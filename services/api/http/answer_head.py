"""The head of an answer over HTTP/1.1: status line, fields, framing. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

from services.api.http.asgi import Message
from services.api.http.head import RequestHead

BODILESS: Final = frozenset({204, 304})
"""The statuses whose answers have neither body nor framing."""

_STATUS_LINES: Final = MappingProxyType(
    {
        status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
        for status in HTTPStatus
    }
)


class AnswerHead(NamedTuple):
    """A head ready to be sent, and what it says of the body."""

    data: bytes
    length_bytes: int | None  # announced; None: chunked, up to the close, or no body
    chunked: bool
    keep_alive: bool  # the connection may carry another request


def answer_head(
    start: Message, request: RequestHead, *, whole_bytes: int | None, keep_alive: bool
) -> AnswerHead:
    """The head that `start` (`http.response.start`) asks for; framing is the server's.

    `whole_bytes` is the length of the body if all of it is known. `keep_alive` is the wish, which a
    stream to an HTTP/1.0 client cannot keep.
    """
    status: int = start["status"]
    length: int | None = None
    chunked = False
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status]
    for name, value in start.get("headers", ()):
        lowered = name.lower()
        if status in BODILESS and lowered in {b"content-length", b"content-type"}:
            continue
        if lowered == b"content-length":
            length = int(value)
        elif lowered in {b"transfer-encoding", b"connection"}:
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(http_date())
    if length is None and status not in BODILESS:
        if whole_bytes is not None:
            length = whole_bytes
            lines.append(b"Content-Length: %d\r\n" % whole_bytes)
        elif request.version == "1.1":
            chunked = request.method != "HEAD"
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            keep_alive = False
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif request.version == "1.0":
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return AnswerHead(b"".join(lines), length, chunked, keep_alive)


def hijack_head(status_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A head for a hijack, which frames itself."""
    return b"".join([status_line, *(b"%b: %b\r\n" % field for field in headers), b"\r\n"])


class _DateLine:
    """The Date field, rendered once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n".encode("ascii")
        return self._line


http_date: Final = _DateLine()
"""A cache of a pure function of the clock; the only state that outlives a connection here."""
