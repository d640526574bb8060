"""The raw stream under attach and exec: both directions, half closes, and how it ends."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from services.api.http.asgi import EXTENSION, Receive, Scope, Send
from services.api.http.hijack import MULTIPLEXED_STREAM, HijackedStream
from services.api.wire.request import current_request
from services.api.wire.responses import HijackResponse
from services.errors import Conflict
from tests.services.api.support import get, routes, serving

UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"


def post(path: bytes, extra: bytes = UPGRADE, body: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n%b\r\n%b" % (
        path, len(body), extra, body,
    )  # fmt: skip


async def echo(_: object, stream: HijackedStream) -> None:
    """Sends back what comes, then a word after the client's end."""
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.send_all(b"bye")


async def view() -> HijackResponse:
    return HijackResponse(echo, content_type=MULTIPLEXED_STREAM)


async def test_an_upgrade_is_101_and_then_raw(tmp_path: Path) -> None:
    """101 with dockerd's headers; bytes sent with the request are kept; half closes work."""
    async with serving(routes(("POST", "/attach", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach") + b"early")
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
        assert b"Connection: Upgrade\r\n" in head
        assert b"Upgrade: tcp\r\n" in head
        assert b"Api-Version: 1.56\r\n" in head
        assert b"Content-Length" not in head
        assert b"Transfer-Encoding" not in head
        assert await client.until(b"early") == b"early"
        await client.send(b"late")
        assert await client.until(b"late") == b"late"
        await client.stream.send_eof()
        assert await client.rest() == b"bye"


async def test_without_upgrade_it_is_200_and_raw(tmp_path: Path) -> None:
    """Clients older than the upgrade get 200 and the raw content type, without any framing."""
    async with serving(routes(("POST", "/attach", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach", extra=b"") + b"early")
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
        assert b"Transfer-Encoding" not in head
        await client.stream.send_eof()
        assert await client.rest() == b"earlybye"


async def test_an_exec_reads_its_body_first(tmp_path: Path) -> None:
    """The JSON body of an upgrade request is the handler's; what follows it is the stream's."""

    async def start() -> HijackResponse:
        body = await current_request().body.read()

        async def handler(_: object, stream: HijackedStream) -> None:
            await stream.send_all(b"<" + body + b">")
            await echo(_, stream)

        return HijackResponse(handler)

    async with serving(routes(("POST", "/exec", start)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/exec", body=b'{"Tty":true}') + b"in")
        await client.until(b"\r\n\r\n")
        await client.stream.send_eof()
        assert await client.rest() == b'<{"Tty":true}>inbye'


async def test_an_error_before_the_hijack_is_an_ordinary_answer(tmp_path: Path) -> None:
    """A refused upgrade leaves the connection usable."""

    async def refuses() -> HijackResponse:
        raise Conflict("container x is not running")

    async with serving(routes(("POST", "/attach", refuses)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach"))
        assert await client.answer() == (409, b'{"message":"container x is not running"}\n')
        await client.send(get("/_ping"))
        assert await client.answer() == (200, b"OK")


async def test_the_server_ends_the_stream_first(tmp_path: Path) -> None:
    """When the handler returns, the client sees the end, though it never ended its own side."""

    async def brief() -> HijackResponse:
        async def handler(_: object, stream: HijackedStream) -> None:
            await stream.send_all(b"output")

        return HijackResponse(handler)

    async with serving(routes(("POST", "/attach", brief)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach") + b"unread input " * 1000)
        await client.until(b"\r\n\r\n")
        assert await client.rest() == b"output"


async def test_a_silent_hijacked_client_is_not_cut(tmp_path: Path) -> None:
    """The watch for hang-ups leaves hijacked connections alone."""

    async def slow() -> HijackResponse:
        async def handler(_: object, stream: HijackedStream) -> None:
            await trio.sleep(0.4)
            await stream.send_all(b"output")

        return HijackResponse(handler)

    async with serving(routes(("POST", "/attach", slow)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach"))
        await client.stream.send_eof()
        assert (await client.rest()).endswith(b"output")


async def test_large_streams_pass_both_ways_at_once(tmp_path: Path) -> None:
    """64 MB there and back, unharmed, while neither side waits for the other to finish."""
    size = 64 * 1024 * 1024
    async with serving(routes(("POST", "/attach", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/attach"))
        await client.until(b"\r\n\r\n")
        block = bytes(range(256)) * 1024

        async def write() -> None:
            for _ in range(size // len(block)):
                await client.send(block)
            await client.stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            received = 0
            while data := await client.stream.receive_some(262144):
                start = received % 256
                if received < size - len(data):
                    assert data[:64] == (block[start:] + block)[:64][: len(data)]
                received += len(data)
        assert received == size + 3


async def test_a_hijack_amid_a_body_is_refused(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The rest of a body must not turn into the stream's input."""
    async with serving(routes(("POST", "/attach", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.rest()).startswith(b"HTTP/1.1 500 ")


async def test_a_second_hijack_and_an_answer_after_one_are_refused(tmp_path: Path) -> None:
    """The connection can be given away once, and not after an answer began."""
    refused: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"][EXTENSION]
        await connection.hijack(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        try:
            await connection.hijack(b"")
        except RuntimeError:
            refused.append("hijack")
        try:
            await send({"type": "http.response.start", "status": 200})
        except RuntimeError:
            refused.append("send")

    async with serving(app, tmp_path) as served:
        client = await served.connect()
        await client.send(post(b"/"))
        assert await client.rest() == b"HTTP/1.1 101 UPGRADED\r\n\r\n"
    assert refused == ["hijack", "send"]
