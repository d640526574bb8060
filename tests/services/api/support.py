"""What the API's tests share: a server on a socket of its own, and clients that speak in bytes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from quart import Blueprint

from services.api.front.app import build_routes
from services.api.front.fast import FastRoutes
from services.api.front.front import Front
from services.api.http.asgi import ASGIApp, Message, Receive, Scope, Send
from services.api.http.server import ApiServer, ServerConfig
from services.api.wire.identity import AppConfig, Identity

ENGINE = Identity(AppConfig(engine_version="0.1.0"))


class Stop:
    """A stop request that the test makes."""

    def __init__(self) -> None:
        self.event = trio.Event()

    async def wait(self) -> None:
        await self.event.wait()


class UnixListener:
    """A listener on a socket file, opened without ceremony."""

    tls: ssl.SSLContext | None = None

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(512)

    def dup(self) -> socket.socket:
        return self._socket.dup()

    def close(self) -> None:
        self._socket.close()


class TcpListener:
    """A listener on a port of the loopback."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"

    def dup(self) -> socket.socket:
        return self._socket.dup()

    def close(self) -> None:
        self._socket.close()


@dataclass
class Served:
    """A running server."""

    path: Path
    stop: Stop
    ended: trio.Event = field(default_factory=trio.Event)

    async def connect(self) -> Client:
        return Client(await trio.open_unix_socket(str(self.path)))

    async def ask(self, request: bytes) -> bytes:
        """All that comes back to `request`, on a connection of its own that it asks to close."""
        client = await self.connect()
        with trio.fail_after(60):
            async with client.stream:
                await client.send(request)
                return await client.rest()


class Client:
    """A connection that the test speaks HTTP on by hand."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to and with `mark`."""
        while mark not in self.buffer:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError(f"ended before {mark!r}: {bytes(self.buffer)!r}")
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        taken = bytes(self.buffer[:end])
        del self.buffer[:end]
        return taken

    async def rest(self) -> bytes:
        """Everything up to the server's end of stream."""
        while data := await self.stream.receive_some(65536):
            self.buffer += data
        taken, self.buffer = bytes(self.buffer), bytearray()
        return taken

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer; it has to carry a Content-Length."""
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(self.buffer) < length:
            data = await self.stream.receive_some(65536)
            assert data
            self.buffer += data
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return int(head.split()[1]), body


def get(path: str = "/", *, close: bool = False, extra: str = "") -> bytes:
    """A GET's head."""
    last = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: d\r\n{extra}{last}\r\n".encode()


@asynccontextmanager
async def serving(app: ASGIApp, tmp_path: Path, *, drain_s: float = 5.0) -> AsyncIterator[Served]:
    """`app` on a unix socket; leaving the block cancels the server."""
    listener = UnixListener(tmp_path / "api.sock")
    async with running(app, listener, drain_s=drain_s) as (stop, ended):
        yield Served(path=listener.path, stop=stop, ended=ended)
    listener.close()


@asynccontextmanager
async def running(
    app: ASGIApp, listener: UnixListener | TcpListener, *, drain_s: float = 5.0
) -> AsyncIterator[tuple[Stop, trio.Event]]:
    """A server on a listener that the caller owns."""
    stop, ended = Stop(), trio.Event()
    server = ApiServer(
        app, listener, config=ServerConfig(drain_s=drain_s), stop_request=lambda: stop
    )

    async def run(task_status: trio.TaskStatus[str]) -> None:
        await server.run(task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield stop, ended
        nursery.cancel_scope.cancel()


def build_app(blueprints: Iterable[Blueprint], *, identity: Identity) -> ASGIApp:
    """The whole app for an `ApiServer`: `/_ping`, and the blueprints' routes."""
    return Front(build_routes(blueprints, identity=identity), FastRoutes(identity))


def routes(*views: tuple[str, str, Callable[..., Awaitable[object]]]) -> ASGIApp:
    """An app of ours with these (method, rule, view)."""
    blueprint = Blueprint("test", __name__)
    for method, rule, view in views:
        blueprint.add_url_rule(rule, f"{method}{rule}".replace(".", "_"), view, methods=[method])  # type: ignore[arg-type]
    return build_app([blueprint], identity=ENGINE)


async def echo_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with method, path and body: what the server understood."""
    body = b""
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    text = f"{scope['method']} {scope['path']} {len(body)} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text, "more_body": False})
