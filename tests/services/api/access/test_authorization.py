"""The gate of authorization plugins: nothing goes past it unseen, or other than it was seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.api.access.authorization import BODY_LIMIT_BYTES, AuthorizationGate
from services.api.front.fast import FastRoutes
from services.api.http.asgi import ASGIApp
from services.api.http.hijack import HijackedStream
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse, HijackResponse, StreamResponse
from services.errors import EngineError, Forbidden
from services.plugins import AuthRequest
from tests.services.api.support import ENGINE, Served, echo_app, get, routes, serving


class Judges:
    """Plugins that say no to what is in `no`, and remember what they were asked."""

    def __init__(self, *no: str) -> None:
        self.names: tuple[str, ...] = ("p",)
        self.no = no
        self.requests: list[AuthRequest] = []
        self.responses: list[AuthRequest] = []

    async def judge_request(self, names: Sequence[str], request: AuthRequest) -> None:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if "request" in self.no:
            raise Forbidden("authorization denied by plugin p: no way")
        if "broken" in self.no:
            raise EngineError("plugin p failed with error: gone")

    async def judge_response(self, names: Sequence[str], request: AuthRequest) -> None:
        self.responses.append(request)
        await trio.lowlevel.checkpoint()
        if "response" in self.no:
            raise Forbidden("authorization denied by plugin p: not that")


@asynccontextmanager
async def judged(tmp_path: Path, judges: Judges, app: ASGIApp = echo_app) -> AsyncIterator[Served]:
    """`app` behind the gate."""
    async with serving(AuthorizationGate(app, judges, ENGINE), tmp_path) as served:
        yield served


def post(path: str, body: bytes, kind: str = "application/json", *, chunked: bool = False) -> bytes:
    """A request with a body."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    if chunked:
        half = len(body) // 2
        pieces = [body[:half], body[half:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: {kind}\r\n{framing}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


async def test_without_plugins_nothing_is_asked(tmp_path: Path) -> None:
    """The list is looked at with each request: a reload takes effect at once."""
    judges = Judges("request")
    judges.names = ()
    async with judged(tmp_path, judges) as served:
        assert b"200 OK" in await served.ask(get(close=True))
        judges.names = ("p",)
        assert b"403 Forbidden" in await served.ask(get(close=True))


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_handler_gets_what_was_judged(tmp_path: Path, chunked: bool) -> None:
    """The body whole, in however many chunks it came."""
    judges = Judges()
    body = b'{"Image":"' + b"x" * 200_000 + b'"}'
    async with judged(tmp_path, judges) as served:
        answer = await served.ask(post("/v1.44/containers/create?name=a", body, chunked=chunked))
    assert answer.endswith(b" %d " % len(body) + body)
    (request,) = judges.requests
    assert request.body == body
    assert (request.method, request.uri) == ("POST", "/v1.44/containers/create?name=a")
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_a_body_that_cannot_be_shown_is_refused(
    tmp_path: Path, chunked: bool, kind: str
) -> None:
    """CVE-2024-41110 and what came after it: no body passes because it is long, or in chunks."""
    judges = Judges()
    body = b" " * (BODY_LIMIT_BYTES + 1)
    async with judged(tmp_path, judges) as served:
        answer = await served.ask(post("/containers/create", body, kind, chunked=chunked))
        assert b"403 Forbidden" in answer
        assert b"larger than 1048576 bytes" in answer
        assert judges.requests == []
        answer = await served.ask(post("/containers/create", body[1:], kind, chunked=chunked))
        assert b"200 OK" in answer


async def test_what_is_no_json_stays_the_handlers(tmp_path: Path) -> None:
    """Contexts and archives go through as they come; a login's body is nobody's business."""
    judges = Judges()
    big = b"x" * (BODY_LIMIT_BYTES + 1)
    async with judged(tmp_path, judges) as served:
        assert b"200 OK" in await served.ask(post("/build", big, "application/x-tar"))
        assert b"200 OK" in await served.ask(post("/v1.44/auth", b'{"password":"p"}'))
        assert b"200 OK" in await served.ask(post("/x/auth?y=/auth", b'{"shown":"p"}'))
    assert [request.body for request in judges.requests] == [b"", b"", b'{"shown":"p"}']


async def test_two_content_types_are_refused(tmp_path: Path) -> None:
    """One reader could take the first, another the last."""
    judges = Judges()
    request = post("/x", b"{}", "text/plain\r\nContent-Type: application/json")
    async with judged(tmp_path, judges) as served:
        assert b"400 Bad Request" in await served.ask(request)
    assert judges.requests == []


async def test_the_path_is_shown_as_it_is_routed(tmp_path: Path) -> None:
    """An escape hides nothing, a whole URL is its path, and what is secret is left out."""
    judges = Judges()
    secret = "Authorization: a\r\nX-Registry-Auth: b\r\nX-Registry-Config: c\r\nX-Other: d\r\n"
    async with judged(tmp_path, judges) as served:
        await served.ask(get("/contain%65rs/a%20b/json?x=%2F", close=True, extra=secret))
        await served.ask(get("http://h/info", close=True))
    assert [r.uri for r in judges.requests] == ["/containers/a%20b/json?x=%2F", "/info"]
    assert judges.requests[0].headers == {"X-Other": "d", "Connection": "close"}


@pytest.mark.parametrize(
    ("no", "status", "message"),
    [
        ("request", b"403 Forbidden", b"authorization denied by plugin p: no way"),
        ("broken", b"500 Internal Server Error", b"plugin p failed with error: gone"),
        ("response", b"403 Forbidden", b"authorization denied by plugin p: not that"),
    ],
)
async def test_a_no_is_the_answer(tmp_path: Path, no: str, status: bytes, message: bytes) -> None:
    """dockerd's status and text, and nothing of what would have been answered."""
    async with judged(tmp_path, Judges(no)) as served:
        client = await served.connect()
        for _ in range(2):  # the connection can be used on
            await client.send(get("/info"))
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status)
            assert b"Api-Version: 1.56\r\n" in head
            assert await client.until(b"}\n") == b'{"message":"%b"}\n' % message


async def test_quick_answers_are_judged_too(tmp_path: Path) -> None:
    """What the table answers before quart is asked does not slip past."""
    fast = FastRoutes(ENGINE)
    fast.add("GET", "/containers/json", lambda _scope, _version: b"[1]")
    from services.api.front.front import Front

    judges = Judges("response")
    async with judged(tmp_path, judges, Front(routes(), fast)) as served:
        assert b"403" in await served.ask(get("/v1.44/containers/json", close=True))
        assert b"403" in await served.ask(get("/_ping", close=True))
    shown, ping = judges.responses
    assert (shown.response_status, shown.response_body) == (200, b"[1]")
    assert shown.response_headers["Content-Type"] == "application/json"
    assert ping.response_body == b"", "it is no JSON"


async def test_a_stream_is_judged_before_its_first_byte(tmp_path: Path) -> None:
    """By its head: a no leaves nothing of it, a yes lets it flow."""
    ended = trio.Event()

    async def view() -> EngineResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                for _ in range(3):
                    yield b"part\n"
            finally:
                ended.set()

        return StreamResponse(parts(), content_type="text/plain")

    judges = Judges("response")
    async with judged(tmp_path, judges, routes(("GET", "/logs", view))) as served:
        answer = await served.ask(get("/logs", close=True))
        assert b"403 Forbidden" in answer
        assert b"part" not in answer
        judges.no = ()
        assert (await served.ask(get("/logs", close=True))).count(b"part\n") == 3
    assert judges.responses[0].response_status == 200


async def test_a_hijack_is_judged_before_it(tmp_path: Path) -> None:
    """Attach and exec: a no is an ordinary answer, no byte goes to the process."""
    got: list[bytes] = []

    async def serve(_: object, stream: HijackedStream) -> None:
        while data := await stream.receive_some():
            got.append(data)
            await stream.send_all(data)

    async def view() -> HijackResponse:
        await current_request().body.read()
        return HijackResponse(serve)

    upgrade = (
        b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n"
        b"Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}"
    )
    judges = Judges("response")
    async with judged(tmp_path, judges, routes(("POST", "/attach", view))) as served:
        client = await served.connect()
        await client.send(upgrade + b"typed")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 Forbidden")
        await client.stream.aclose()
        assert got == []
        judges.no = ()
        client = await served.connect()
        await client.send(upgrade + b"typed")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 UPGRADED")
        assert await client.until(b"typed") == b"typed"
        await client.stream.send_eof()
    assert [request.body for request in judges.requests] == [b"{}", b"{}"]
    assert judges.responses[-1].response_status == 101
