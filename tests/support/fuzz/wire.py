"""A request as it goes over the socket, byte by byte, and what comes back."""

from __future__ import annotations

import http.client
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANSWER_LIMIT_S: Final = 60.0
_RUN: Final = re.compile(r"(\\x00|[^\\])\1{40,}")
_SHOWN_CHARS: Final = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request."""

    operation: str  # the definition's
    method: str
    target: str  # escaped
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    cut_s: float | None = None  # its answer may be endless: it is read for no longer
    breaks_off: bool = False  # the body may not be whole: the client says that there is no more

    @property
    def data(self) -> bytes:
        """What goes over the socket."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body is not None and "Transfer-Encoding" not in dict(self.headers):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join((*lines, "", "")).encode("utf-8", "surrogatepass")
        return head + (self.body or b"")

    def __str__(self) -> str:
        """The bytes, to be repeated by hand; what repeats itself in them is counted."""
        shown = _RUN.sub(lambda run: f"{run[1]}<{len(run[0])} of it>", repr(self.data))
        return shown[:_SHOWN_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An answer; `status` 0 is none. `problem` says what was wrong with how it came."""

    status: int = 0
    headers: dict[str, str]
    body: bytes = b""
    is_whole: bool = False
    took_s: float  # until its head had come
    problem: str = ""


def send(path: Path, sent: Sent) -> Seen:
    """Send a request over a connection of its own, and read the answer."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_LIMIT_S)
        sock.connect(str(path))
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused, not read to its end
                sock.sendall(sent.data)
            if sent.breaks_off:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(sock, method=sent.method)
            response.begin()
        except (OSError, http.client.HTTPException) as error:
            return Seen(headers={}, took_s=time.monotonic() - began, problem=repr(error))
        took_s = time.monotonic() - began
        body, is_whole, problem = _read_body(sock, response, sent.cut_s)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Seen(
        status=response.status,
        headers=headers,
        body=body,
        is_whole=is_whole,
        took_s=took_s,
        problem=problem,
    )


def _read_body(
    sock: socket.socket, response: http.client.HTTPResponse, cut_s: float | None
) -> tuple[bytes, bool, str]:
    """The bytes that came, whether they are all, and what went wrong."""
    body = bytearray()
    late = "" if cut_s is not None else "the answer does not end"
    deadline = time.monotonic() + (ANSWER_LIMIT_S if cut_s is None else cut_s)
    try:
        while time.monotonic() < deadline:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            piece = response.read1(65536)
            if not piece:
                return bytes(body), True, ""
            body += piece
    except TimeoutError:
        return bytes(body), False, late
    except (OSError, http.client.HTTPException) as error:
        return bytes(body), False, repr(error)
    return bytes(body), False, late
