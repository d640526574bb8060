"""One HTTP request over a unix socket, for what real clients would not send."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LIMIT_S: Final = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def json_lines(self) -> list[Any]:
        """The body as one JSON value a line."""
        return [json.loads(line) for line in self.body.splitlines() if line]

    @property
    def message(self) -> str:
        """The text of an error."""
        return str(self.json()["message"])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("docker", timeout=limit_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(
    path: Path,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    *,
    limit_s: float = LIMIT_S,
) -> Answer:
    """Send a request, read the whole answer. A `body` that is not bytes is sent as JSON."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    connection = _UnixConnection(path, limit_s)
    try:
        connection.request(method, target, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(),
        )
    finally:
        connection.close()


@contextmanager
def begun(path: Path, method: str, target: str) -> Iterator[http.client.HTTPResponse]:
    """An answer of which the head has come; the test reads the rest."""
    connection = _UnixConnection(path, LIMIT_S)
    try:
        connection.request(method, target)
        yield connection.getresponse()
    finally:
        connection.close()


def send_raw(path: Path, data: bytes) -> bytes:
    """Send bytes as they stand and read until the server closes, or has sent one whole answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(LIMIT_S)
        sock.connect(str(path))
        received = b""
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already; its answer may still be here
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return received
