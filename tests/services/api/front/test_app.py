"""The app around the routes: versions, headers, errors, as a client sees them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import trio
from loguru import logger

from services import errors
from services.api.front.fast import FastRoutes
from services.api.front.front import Front
from services.api.http.asgi import ASGIApp, Scope
from services.api.versions.version import ApiVersion
from services.api.wire.identity import AppConfig, Identity
from services.api.wire.json_bodies import read_json
from services.api.wire.paths import clean_path
from services.api.wire.request import current_request
from services.api.wire.statuses import status_of
from tests.services.api.support import ENGINE, build_app, get, routes, serving

IDENTITY = (
    b"Api-Version: 1.56\r\n",
    b"Docker-Experimental: false\r\n",
    b"Ostype: linux\r\n",
    b"Server: Wharfinger/0.1.0 (linux)\r\n",
)


async def hello(name: str = "world") -> dict[str, str]:
    return {"hello": name, "version": str(current_request().api_version)}


def app() -> ASGIApp:
    return routes(("GET", "/hello", hello), ("GET", "/hello/<name>", hello))


async def test_ping(tmp_path: Path) -> None:
    """GET and HEAD, with and without version; every header that clients look at."""
    async with serving(app(), tmp_path) as served:
        for path in ("/_ping", "/v1.24/_ping", "/v1.56/_ping"):
            answer = await served.ask(get(path, close=True))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nOK")
            for field in (
                *IDENTITY,
                b"Content-Type: text/plain; charset=utf-8\r\n",
                b"Cache-Control: no-cache, no-store, must-revalidate\r\n",
                b"Pragma: no-cache\r\n",
                b"Swarm: inactive\r\n",
                b"Builder-Version: ",
            ):
                assert field in answer
        head = await served.ask(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert b"Content-Length: 0\r\n" in head


async def test_a_ping_tells_of_the_swarm(tmp_path: Path) -> None:
    """Of what the daemon is now, not of what it was."""
    role = "inactive"
    identity = Identity(AppConfig(engine_version="1"), swarm_role=lambda: role)
    async with serving(build_app([], identity=identity), tmp_path) as served:
        assert b"Swarm: inactive\r\n" in await served.ask(get("/_ping", close=True))
        role = "active/manager"
        assert b"Swarm: active/manager\r\n" in await served.ask(get("/_ping", close=True))


async def test_versions_are_negotiated(tmp_path: Path) -> None:
    """1.24 to 1.56 are served; outside of that dockerd's words, with the headers that help."""
    async with serving(app(), tmp_path) as served:
        for path, version in (
            ("/hello", "1.56"),
            ("/v1.24/hello", "1.24"),
            ("/v1.56/hello", "1.56"),
        ):
            answer = await served.ask(get(path, close=True))
            assert all(field in answer for field in IDENTITY)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["version"] == version
        for path, message in (
            (
                "/v1.57/hello",
                "client version 1.57 is too new. Maximum supported API version is 1.56",
            ),
            ("/v2.0/_ping", "client version 2.0 is too new. Maximum supported API version is 1.56"),
            (
                "/v1.9/hello",
                "client version 1.9 is too old. Minimum supported API version is 1.24, "
                "please upgrade your client to a newer version",
            ),
        ):
            answer = await served.ask(get(path, close=True))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert all(field in answer for field in IDENTITY)
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"message": message}


async def test_unknown_pages(tmp_path: Path) -> None:
    """An unknown path, a known one under another method or an odd version: page not found."""
    async with serving(app(), tmp_path) as served:
        for method, path in (
            ("GET", "/nope"), ("GET", "/v1.99/nope"), ("PUT", "/hello"), ("GET", "/hello/"),
            ("GET", "/"),
            ("GET", "/v1.x/hello"), ("GET", "/v1.40"), ("GET", "/v1.40/"), ("GET", "/hello/a/b"),
        ):  # fmt: skip
            answer = await served.ask(get(path, close=True).replace(b"GET", method.encode()))
            assert answer.startswith(b"HTTP/1.1 404 "), path
            assert answer.endswith(b'\r\n\r\n{"message":"page not found"}\n')
            assert b"Api-Version" not in answer


async def test_paths_are_cleaned(tmp_path: Path) -> None:
    """Empty, dot and dot-dot segments are redirected away, as dockerd's router does."""
    async with serving(app(), tmp_path) as served:
        for path, location in (
            ("//hello", "/hello"),
            ("/v1.40//hello?a=%20b", "/v1.40/hello?a=%20b"),
            ("/a/../../../hello", "/hello"),
            ("/./hello", "/hello"),
            ("/hello/%2e%2e/x", "/x"),
        ):
            answer = await served.ask(get(path, close=True))
            assert answer.startswith(b"HTTP/1.1 301 "), path
            assert f"Location: {location}\r\n".encode() in answer
    assert clean_path("/a/b/../") == "/a/"
    assert clean_path("/..") == "/"


@pytest.mark.parametrize(
    "host",
    ["", "%2Fvar%2Frun%2Fdocker.sock", "/run/docker.sock", "a_b", "h:x", "[::1]:80", "x" * 90],
)
async def test_any_host_is_served(host: str, tmp_path: Path) -> None:
    """Clients put a socket's path, or nothing, where HTTP has a host name."""
    async with serving(app(), tmp_path) as served:
        request = get("/hello", close=True).replace(b"Host: d", b"Host: " + host.encode())
        assert (await served.ask(request)).startswith(b"HTTP/1.1 200 ")


async def test_options_are_answered(tmp_path: Path) -> None:
    """200 and nothing in it, for any path, as dockerd."""
    async with serving(app(), tmp_path) as served:
        answer = await served.ask(get("/any", close=True).replace(b"GET", b"OPTIONS"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotModified("x"), 304),
        (errors.InvalidParameter("x"), 400),
        (errors.Unauthorized("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.NotSupported("x"), 501),
        (errors.Unavailable("x"), 503),
        (errors.DeadlineExceeded("x"), 500),
        (errors.EngineError("x"), 500),
    ],
)
async def test_errors_become_answers(
    error: errors.EngineError, status: int, tmp_path: Path
) -> None:
    """Each class has one status; its text is the message; it may come out of a nursery."""

    async def direct() -> str:
        raise error

    async def grouped() -> str:
        async with trio.open_nursery():
            raise error

    async with serving(routes(("GET", "/a", direct), ("GET", "/b", grouped)), tmp_path) as served:
        for path in ("/a", "/b"):
            answer = await served.ask(get(path, close=True))
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert (b"Retry-After: 1\r\n" in answer) == (status == 503)
            if status != 304:
                assert answer.endswith(b'{"message":"x"}\n')


def test_every_error_class_has_a_status() -> None:
    """A class without an entry inherits; none is forgotten by accident."""

    class Special(errors.NotFound):
        """One more."""

    assert status_of(Special("x")) == 404
    kinds = (c for c in vars(errors).values() if isinstance(c, type))
    classes = [c for c in kinds if issubclass(c, errors.EngineError)]
    inherited = {c.__name__ for c in classes if status_of(c("x")) == 500}
    assert inherited == {"EngineError", "DeadlineExceeded"}


async def test_a_real_error_beside_a_cancellation_is_not_lost(tmp_path: Path) -> None:
    """When a client hangs up and the handler's clean-up fails, the log has the failure."""
    messages: list[str] = []
    began, logged = trio.Event(), trio.Event()

    def sink(message: str) -> None:
        messages.append(str(message))
        logged.set()

    async def view() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                began.set()
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError("clean-up failed")

    number = logger.add(sink, level="ERROR")
    try:
        async with serving(routes(("GET", "/", view)), tmp_path) as served:
            client = await served.connect()
            await client.send(get())
            await began.wait()
            await client.stream.aclose()
            with trio.fail_after(60):
                await logged.wait()
    finally:
        logger.remove(number)
    assert "clean-up failed" in messages[0]


class Thing(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str = ""


async def test_json_bodies(tmp_path: Path) -> None:
    """A JSON body arrives typed; no body is None; dockerd's words for the rest."""

    async def view() -> dict[str, object]:
        thing = await read_json(Thing)
        return {"name": thing.name if thing else None}

    async with serving(routes(("POST", "/", view)), tmp_path) as served:
        client = await served.connect()
        for extra, body, status, answer in (
            (b"Content-Type: application/json\r\n", b'{"name":"x"}', 200, {"name": "x"}),
            (b"", b"", 200, {"name": None}),
            (b"", b"{}", 400,
             {"message": "unsupported Content-Type header (): must be 'application/json'"}),
            (b"Content-Type: application/json\r\n", b"{", 400,
             {"message": "invalid JSON: unexpected EOF"}),
        ):  # fmt: skip
            head = b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n%b\r\n" % (
                len(body),
                extra,
            )
            await client.send(head + body)
            got_status, got = await client.answer()
            assert (got_status, json.loads(got)) == (status, answer)


async def test_fast_routes(tmp_path: Path) -> None:
    """Encoded answers come from the table; what it declines, and bad versions, go to the routes."""

    def listed(scope: Scope, version: ApiVersion) -> bytes | None:
        return None if scope["query_string"] else b'["fast %d"]' % version.minor

    def inspected(scope: Scope, version: ApiVersion, reference: str) -> bytes | None:
        return b'{"Id":"%b"}' % reference.encode() if reference == "known" else None

    async def slow(reference: str = "") -> dict[str, str]:
        return {"slow": reference}

    fast = FastRoutes(ENGINE)
    fast.add("GET", "/things", listed)
    fast.add_item("GET", "things", "json", inspected)
    with pytest.raises(ValueError, match="already"):
        fast.add("GET", "/things", listed)
    with pytest.raises(ValueError, match="already"):
        fast.add_item("GET", "things", "json", inspected)
    behind = routes(("GET", "/things", slow), ("GET", "/things/<reference>/json", slow))
    async with serving(Front(behind, fast), tmp_path) as served:
        client = await served.connect()
        for path, status, body in (
            ("/v1.30/things", 200, b'["fast 30"]'),
            ("/things?all=1", 200, b'{"slow":""}'),
            ("/things/known/json", 200, b'{"Id":"known"}'),
            ("/things/other/json", 200, b'{"slow":"other"}'),
            ("/v1.99/things", 400, b""),
        ):
            await client.send(get(path))
            got_status, got = await client.answer()
            assert got_status == status
            if status == 200:
                assert got.replace(b" ", b"").strip() == body.replace(b" ", b"")
