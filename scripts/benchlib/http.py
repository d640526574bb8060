"""The least HTTP client that can measure: one unix socket, one request at a time."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class HttpError(Exception):
    """An answer that is no success."""


class Connection:
    """A kept-alive connection. Answers may have a length or be chunked."""

    def __init__(self, path: Path, *, limit_s: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(limit_s)
        self._socket.connect(str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, target: str, body: object = None, *, fields: str = "") -> Any:
        """The decoded JSON of an answer, None if it has no body. `fields` are more of the head."""
        answer = self.exchange(request(method, target, body, fields=fields))
        return json.loads(answer) if answer else None

    def upload(self, target: str, data: bytes) -> bytes:
        """POST bytes; the answer's body. Raises as `exchange`."""
        head = f"POST {target} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\n"
        return self.exchange(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def exchange(self, message: bytes) -> bytes:
        """Send a request, return the answer's body.

        Raises:
            HttpError: the status is 400 or above.
        """
        self._socket.sendall(message)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head, body = received[:end], received[end + 4 :]
        status = int(head[9:12])
        length = _LENGTH.search(head)
        if length is None and status not in (204, 304):
            while not body.endswith(b"0\r\n\r\n"):
                body += self._receive()
            body = _dechunk(body)
        else:
            while len(body) < int(length[1] if length else 0):
                body += self._receive()
        if status >= 400:
            raise HttpError(f"{status}: {body.decode(errors='replace').strip()}")
        return body

    def raw(self, message: bytes) -> bytes:
        """Send a request that takes the connection over; what comes until the server ends it.

        Raises:
            HttpError: the status is 400 or above.
        """
        self._socket.sendall(message)
        received = b""
        while data := self._socket.recv(1 << 20):
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        if not head or int(head[9:12]) >= 400:
            raise HttpError(received.decode(errors="replace"))
        return body

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise HttpError("the connection ended")
        return data


def request(method: str, target: str, body: object = None, *, fields: str = "") -> bytes:
    """A request's bytes; `body` is sent as JSON. `fields` end with a line's end each."""
    data = b"" if body is None else json.dumps(body).encode()
    fields += "Content-Type: application/json\r\n" if data else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: d\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def is_answering(path: Path) -> bool:
    """Whether a ping is answered now."""
    with suppress(OSError, HttpError), Connection(path, limit_s=5.0) as connection:
        connection.exchange(request("GET", "/_ping"))
        return True
    return False


def _dechunk(body: bytes) -> bytes:
    parts: list[bytes] = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
