"""One connection after another, as clients behave and misbehave."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from services.api.http.asgi import Receive, Scope, Send
from services.api.http.transport import ClientGone
from services.api.wire.request import current_request
from services.api.wire.responses import StreamResponse
from tests.services.api.support import Client, TcpListener, echo_app, get, routes, running, serving


async def test_requests_share_a_connection(tmp_path: Path) -> None:
    """One connection carries many requests, each body read whole before the next head."""
    async with serving(echo_app, tmp_path) as served:
        client = await served.connect()
        for number in range(50):
            body = b"x" * number
            head = f"POST /{number} HTTP/1.1\r\nHost: d\r\nContent-Length: {number}\r\n\r\n"
            await client.send(head.encode() + body)
            assert await client.answer() == (200, b"POST /%d %d %b" % (number, number, body))


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Who sends many requests before reading gets the answers in the order of the requests."""
    async with serving(echo_app, tmp_path) as served:
        client = await served.connect()
        await client.send(b"".join(get(f"/{number}") for number in range(200)))
        for number in range(200):
            assert await client.answer() == (200, b"GET /%d 0 " % number)


async def test_a_request_cut_into_bytes_is_one_request(tmp_path: Path) -> None:
    """How the bytes arrive does not matter."""
    async with serving(echo_app, tmp_path) as served:
        client = await served.connect()
        for byte in (
            b"POST /a HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ):
            await client.send(bytes([byte]))
        assert await client.answer() == (200, b"POST /a 2 ab")


async def test_http_1_0_ends_with_the_connection_unless_asked(tmp_path: Path) -> None:
    """An HTTP/1.0 client gets a close, or keep-alive when it asked for it; never chunks."""

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd", "more_body": False})

    async with serving(echo_app, tmp_path) as served:
        assert b"Connection: close\r\n" in await served.ask(b"GET / HTTP/1.0\r\n\r\n")
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive\r\n" in await client.until(b"\r\n\r\n")
    (tmp_path / "api.sock").unlink()
    async with serving(stream, tmp_path) as served:
        answer = await served.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nabcd")
        assert b"chunked" not in answer


async def test_continue_is_sent_when_the_handler_reads(tmp_path: Path) -> None:
    """`Expect: 100-continue` is honoured by the first read, and only then."""
    head = b"POST %b HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"

    async def reads() -> str:
        return (await current_request().body.read()).decode()

    async def refuses() -> tuple[str, int]:
        return "no", 403

    app = routes(("POST", "/reads", reads), ("POST", "/refuses", refuses))
    async with serving(app, tmp_path) as served:
        client = await served.connect()
        await client.send(head % b"/reads")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ab")
        assert await client.answer() == (200, b"ab")
        # Whether the body comes now is unknown, so this connection cannot carry another request.
        answer = await served.ask(head % b"/refuses")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"Connection: close" in answer


async def test_head_has_no_body(tmp_path: Path) -> None:
    """HEAD is answered with the length that GET would have, and nothing after the head."""
    async with serving(echo_app, tmp_path) as served:
        answer = await served.ask(b"HEAD /abc HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 12\r\n" in answer


async def test_answers_without_body_keep_the_connection(tmp_path: Path) -> None:
    """204 and 304 have neither body nor length, and the next answer is read right."""

    async def view(status: int) -> tuple[str, int]:
        return "ignored", status

    async with serving(routes(("GET", "/<int:status>", view)), tmp_path) as served:
        client = await served.connect()
        for status in (204, 304, 204):
            await client.send(get(f"/{status}"))
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"Content-" not in head
            assert b"Transfer-Encoding" not in head
        await client.send(get("/_ping"))
        assert await client.answer() == (200, b"OK")


async def test_quarts_own_ways_to_read_a_body_work(tmp_path: Path) -> None:
    """`get_data` and `get_json` read the pulled body."""

    async def view() -> str:
        return f"{await current_request().get_json(force=True)}"

    async with serving(routes(("POST", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 7\r\n\r\n[1,2,3]")
        assert await client.answer() == (200, b"[1, 2, 3]")


async def test_an_unread_body_does_not_become_a_request(tmp_path: Path) -> None:
    """A body that no handler read is read over if it is small, else it ends the connection."""

    async def ignores() -> str:
        return "done"

    async with serving(routes(("POST", "/", ignores)), tmp_path) as served:
        client = await served.connect()
        for size in (10, 200_000):
            head = b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % size
            await client.send(head + b"GET /smuggled HTTP/1.1\r\n\r\n".ljust(size)[:size])
            assert await client.answer() == (200, b"done")
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 9999999999\r\n\r\n")
        assert b"Connection: close" in await client.until(b"\r\n\r\n")
        assert await client.rest() == b"done"


async def test_a_stream_sends_its_head_at_once(tmp_path: Path) -> None:
    """The head of a stream arrives before its first part exists; then the parts one by one."""
    go = trio.Event()

    async def view() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            await go.wait()
            yield b"one"
            yield b"two"

        return StreamResponse(parts(), content_type="text/plain")

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        head = await client.until(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        go.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        await client.send(get())
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_crash_in_a_handler_is_answered_and_nothing_more(tmp_path: Path) -> None:
    """A handler's bug is 500 without a traceback; in mid-stream it cuts; others go on."""

    async def crashes() -> str:
        raise ZeroDivisionError("secret")

    async def breaks_off() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise ZeroDivisionError("secret")

        return StreamResponse(parts())

    app = routes(("GET", "/crash", crashes), ("GET", "/break", breaks_off))
    async with serving(app, tmp_path) as served:
        other = await served.connect()
        answer = await served.ask(get("/crash", close=True))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in answer
        assert b"Traceback" not in answer
        answer = await served.ask(get("/break"))
        assert answer.endswith(b"3\r\none\r\n")  # no last chunk: the client must notice
        await other.send(get("/_ping"))
        assert await other.answer() == (200, b"OK")


async def test_an_asgi_app_that_misbehaves_ends_its_connection_only(tmp_path: Path) -> None:
    """No answer, a wrong length, an answer twice: a 500 or a cut, and the server serves on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/silent":
                return
            case "/short":
                headers = [(b"Content-Length", b"5")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"abc"})
            case "/twice":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.start", "status": 200})
            case "/odd":
                await send({"type": "odd"})

    async with serving(app, tmp_path) as served:
        for path in ("/silent", "/twice", "/odd"):
            assert (await served.ask(get(path))).startswith(b"HTTP/1.1 500 "), path
        assert not (await served.ask(get("/short"))).endswith(b"abc\r\n")


@pytest.mark.parametrize("family", ["unix", "tcp"])
async def test_a_client_that_hangs_up_ends_a_silent_handler(family: str, tmp_path: Path) -> None:
    """A handler that neither reads nor writes is cancelled when its client has gone."""
    began, ended = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    if family == "unix":
        async with serving(app, tmp_path) as served:
            client = await served.connect()
            await client.send(get())
            await began.wait()
            await client.stream.aclose()
            with trio.fail_after(60):
                await ended.wait()
    else:
        listener = TcpListener()
        async with running(app, listener):
            stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
            await stream.send_all(get())
            await began.wait()
            await stream.aclose()
            with trio.fail_after(60):
                await ended.wait()
        listener.close()


async def test_a_half_closed_unix_client_still_gets_its_answer(tmp_path: Path) -> None:
    """Ending one's own direction after the request is not hanging up."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(0.3)  # longer than the watch waits before it looks
        await echo_app(scope, receive, send)

    async with serving(app, tmp_path) as served:
        client = await served.connect()
        await client.send(get("/a"))
        await client.stream.send_eof()
        assert (await client.rest()).endswith(b"GET /a 0 ")


@pytest.mark.parametrize("ends", ["before it begins", "while it lasts"])
async def test_a_stream_ends_with_its_unix_clients_direction(ends: str, tmp_path: Path) -> None:
    """As in Go: nothing else tells of a client behind `docker system dial-stdio` that has gone."""
    asked, cleaned = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asked.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            await trio.sleep_forever()
        finally:
            cleaned.set()

    async with serving(app, tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        if ends == "before it begins":
            await client.stream.send_eof()
            await trio.sleep(0.3)  # longer than the watch waits before it looks
            asked.set()
            await client.until(b"part")
        else:
            asked.set()
            await client.until(b"part")
            await trio.sleep(0.3)
            await client.stream.send_eof()
        with trio.fail_after(60):
            await cleaned.wait()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")


async def test_a_handler_may_ignore_that_its_client_hung_up(tmp_path: Path) -> None:
    """What must not stop half-way runs to its end, and others are served."""
    began, ended = trio.Event(), trio.Event()

    async def view() -> str:
        current_request().ignore_hang_up()
        began.set()
        await trio.sleep(0.4)  # longer than the watch would wait before it looks
        ended.set()
        return "done"

    async with serving(routes(("POST", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        await began.wait()
        await client.stream.aclose()
        with trio.fail_after(60):
            await ended.wait()
        assert (await served.ask(get("/_ping", close=True))).endswith(b"OK")


async def test_a_body_of_tiny_chunks_lets_others_run(tmp_path: Path) -> None:
    """A hundred thousand one-byte chunks arrive whole."""
    async with serving(echo_app, tmp_path) as served:
        head = b"POST /a HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        answer = await served.ask(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    assert answer.endswith(b"POST /a 100000 " + b"x" * 100_000)


async def test_a_client_that_vanishes_in_mid_stream_ends_its_handler(tmp_path: Path) -> None:
    """A stream into a closed connection ends the generator, whose clean-up runs."""
    cleaned = trio.Event()

    async def view() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
            finally:
                cleaned.set()

        return StreamResponse(parts(), endless=True)

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        await client.until(b"xxx")
        await client.stream.aclose()
        with trio.fail_after(60):
            await cleaned.wait()
        assert (await served.ask(get("/_ping", close=True))).endswith(b"OK")


async def test_an_upload_that_breaks_off_is_the_clients_fault(tmp_path: Path) -> None:
    """A body that ends early is `InvalidParameter` in the handler, not a whole body."""
    outcome: list[str] = []
    done = trio.Event()

    async def view() -> str:
        try:
            await current_request().body.read()
        except (Exception, ClientGone) as error:
            outcome.append(type(error).__name__)
            raise
        finally:
            done.set()
        return "whole"

    async with serving(routes(("POST", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 10\r\n\r\nabc")
        await client.stream.send_eof()
        answer = await client.rest()
        await done.wait()
    assert outcome == ["InvalidParameter"]
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_reader_that_stops_reading_holds_only_itself_up(tmp_path: Path) -> None:
    """With one client's buffers full, its handler waits and others are served."""
    sent = 0

    async def view() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b"x" * 65536

        return StreamResponse(parts(), endless=True)

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        stalled = await served.connect()
        await stalled.send(get())
        await stalled.until(b"xxx")
        before = -1
        while sent != before:
            before = sent
            assert (await served.ask(get("/_ping", close=True))).endswith(b"OK")
            await trio.sleep(0.05)
        assert sent < 100


async def test_one_busy_client_does_not_starve_another(tmp_path: Path) -> None:
    """Pipelined requests and an eager stream let other tasks run in between."""

    async def view() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"x"

        return StreamResponse(parts(), endless=True)

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())

        async def drain(eager: Client) -> None:
            while True:
                await eager.stream.receive_some(65536)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, client)
            with trio.fail_after(60):
                for _ in range(20):
                    assert (await served.ask(get("/_ping", close=True))).endswith(b"OK")
            nursery.cancel_scope.cancel()


async def test_a_head_that_does_not_end_is_given_up(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Thirty seconds from the first byte of a head to its end; an idle connection has no limit."""
    async with serving(echo_app, tmp_path) as served:
        idle, slow = await served.connect(), await served.connect()
        await idle.send(get("/a"))
        await idle.answer()
        await slow.send(b"GET / HTTP/1.1\r\nHo")
        before = trio.current_time()
        assert await slow.rest() == b""
        assert 29 < trio.current_time() - before < 31
        await trio.sleep(80_000)
        await idle.send(get("/b"))
        assert await idle.answer() == (200, b"GET /b 0 ")


async def test_peer_credentials_are_the_kernels(tmp_path: Path) -> None:
    """Over a unix socket a handler learns who asks."""
    import os

    async def view() -> str:
        connection = current_request().connection
        assert connection is not None
        who = connection.peercred()
        assert who is not None
        assert connection.peercert() is None
        return f"{who.pid} {who.uid} {who.gid}"

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        expected = f"{os.getpid()} {os.getuid()} {os.getgid()}"
        assert await client.answer() == (200, expected.encode())


async def test_many_idle_connections_are_held(tmp_path: Path) -> None:
    """Descriptors above 1023 and hundreds of idle connections are ordinary."""
    async with serving(echo_app, tmp_path) as served:
        clients = [await served.connect() for _ in range(600)]
        for client in clients:
            await client.send(get("/a"))
        for client in clients:
            assert await client.answer() == (200, b"GET /a 0 ")
        for client in clients:
            client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await client.stream.aclose()
        assert (await served.ask(get("/", close=True))).endswith(b"GET / 0 ")
