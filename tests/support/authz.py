"""An authorization plugin for tests: it remembers what it was asked, and says what it is told."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

Verdict = Callable[[str, dict[str, Any]], object]
"""Given `AuthZReq` or `AuthZRes` and what was asked: the answer; bytes go out as they stand."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    plugin: Plugin


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        plugin = cast(_Server, self.server).plugin
        method = self.path.removeprefix("/")
        status, answer = plugin.answer(method, json.loads(body or b"{}"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Plugin:
    """One plugin, at a socket file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.implements = ["authz"]
        self.activations = 0
        self.verdict: Verdict = lambda _phase, _asked: {"Allow": True}
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = _Server(str(self.path), _Handler)
        self._server.plugin = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Be gone, the socket file too."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.path.unlink(missing_ok=True)

    def answer(self, method: str, asked: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body."""
        if method == "Plugin.Activate":
            self.activations += 1
            return 200, json.dumps({"Implements": self.implements}).encode()
        for name in ("RequestBody", "ResponseBody"):
            if name in asked:
                asked[name] = base64.b64decode(asked[name])
        phase = method.removeprefix("AuthZPlugin.")
        self.asked.append((phase, asked))
        verdict = self.verdict(phase, asked)
        if isinstance(verdict, tuple):
            return verdict
        return 200, verdict if isinstance(verdict, bytes) else json.dumps(verdict).encode()

    def phases(self) -> list[str]:
        """What it was asked, in short."""
        return [phase for phase, _ in self.asked]


@contextmanager
def plugin_at(path: Path) -> Iterator[Plugin]:
    """A plugin that listens, until the end of the block."""
    plugin = Plugin(path)
    plugin.start()
    try:
        yield plugin
    finally:
        plugin.stop()
