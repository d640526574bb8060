"""An HTTP proxy in front of a server that makes of its answers what networks make of them.

It stands for the server (requests to it go on to `upstream`), or is the proxy of a client that
names the server in full. Every request is recorded.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case

    @property
    def is_layer(self) -> bool:
        """Whether a blob is asked for."""
        return self.method == "GET" and "/blobs/sha256:" in self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to an answer. Nothing, by default."""

    status: int = 0  # instead of the server's; with `headers` and `body`
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None  # bytes of the body; then the connection breaks
    flip: bool = False  # one bit of the body is another
    pause_s: float = 0.0  # before each piece of the body
    stall_after: int | None = None  # bytes of the body; the rest comes with `FaultProxy.release`
    take_after: int | None = None  # bytes of the request's body; then the connection breaks
    hold: bool = False  # nothing is answered before `FaultProxy.release`


Judge = Callable[[Seen, int], Fault | None]
"""Given a request, and how many of that method and path came before."""


class FaultProxy:
    """Comes from `fault_proxy`. Set `judge` to have faults."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream  # HOST:PORT
        self.judge: Judge = lambda _seen, _before: None
        self.seen: list[Seen] = []
        self.rewrite: dict[str, str] = {}  # where hosts that clients name in full are
        self.host = ""
        self._lock = threading.Lock()
        self._released = threading.Event()

    def receive(self, seen: Seen) -> Fault:
        """Record a request; what becomes of it."""
        with self._lock:
            before = sum((one.method, one.path) == (seen.method, seen.path) for one in self.seen)
            self.seen.append(seen)
        return self.judge(seen, before) or Fault()

    def release(self) -> None:
        """Let go of what is held: those connections break."""
        self._released.set()

    def hold(self) -> None:
        """Wait for `release`, in a handler's thread."""
        self._released.wait(60)

    def layers(self) -> list[Seen]:
        """The requests for blobs."""
        return [one for one in self.seen if one.is_layer]


@contextmanager
def fault_proxy(upstream: str, *, address: str = "127.0.0.1") -> Iterator[FaultProxy]:
    """A proxy before HOST:PORT, on a port of its own."""
    proxy = FaultProxy(upstream)

    class Handler(_Handler):
        the_proxy = proxy

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    proxy.host = f"{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.release()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    the_proxy: FaultProxy

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _serve(self) -> None:
        seen = Seen(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        fault = self.the_proxy.receive(seen)
        if fault.hold:
            self.the_proxy.hold()
            self._break()
        elif fault.take_after is not None:
            self.rfile.read(min(fault.take_after, int(self.headers.get("Content-Length") or 0)))
            self._break()
        elif fault.status:
            self._drain()
            self._answer(fault.status, fault.headers, fault.body)
        else:
            self._forward(fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _forward(self, fault: Fault) -> None:
        target, path = self.the_proxy.upstream, self.path
        if "://" in path:
            parts = urlsplit(path)
            target = self.the_proxy.rewrite.get(parts.netloc, parts.netloc)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection(target, timeout=30)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "proxy-connection"):
                    connection.putheader(name, value)
            connection.endheaders()
            while length:
                piece = self.rfile.read(min(length, PIECE_BYTES))
                if not piece:
                    self.close_connection = True
                    return
                connection.send(piece)
                length -= len(piece)
            self._relay(connection.getresponse(), fault)
        finally:
            connection.close()

    def _relay(self, response: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        if response.getheader("Content-Length") is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        while piece := response.read(PIECE_BYTES):
            if fault.pause_s:
                time.sleep(fault.pause_s)
            if fault.flip and not sent:
                piece = bytes([piece[0] ^ 1]) + piece[1:]
            if fault.cut_after is not None and sent + len(piece) > fault.cut_after:
                self.wfile.write(piece[: fault.cut_after - sent])
                self._break()
                return
            if fault.stall_after is not None and sent >= fault.stall_after:
                self.wfile.flush()
                self.the_proxy.hold()
            self.wfile.write(piece)
            sent += len(piece)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drain(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        while length:
            length -= len(self.rfile.read(min(length, PIECE_BYTES))) or length

    def _break(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
