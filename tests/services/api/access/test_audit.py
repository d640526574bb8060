"""The audit log: who asked for what and what came of it, without anything secret, and bounded."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from services.api.access.audit import AuditLog, AuditRecord
from services.api.access.audit_gate import AuditGate
from services.api.http.asgi import Receive, Scope, Send
from services.api.http.hijack import HijackedStream
from services.api.wire.responses import HijackResponse
from tests.services.api.support import Served, get, routes, serving

SECRETS = (
    "X-Registry-Auth: c2VjcmV0\r\nX-Registry-Config: c2VjcmV0\r\nAuthorization: c2VjcmV0\r\n"
    "Content-Type: application/json\r\n"
)
BODY = b'{"Env":["PASSWORD=secret"],"buildargs":{"T":"secret"}}'


def post(path: str, body: bytes = BODY, extra: str = SECRETS) -> bytes:
    """A request with all kinds of secrets in it."""
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: d\r\n{extra}{length}\r\n".encode() + body


def answering(status: int, body: bytes) -> Any:
    """An app with one answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


@asynccontextmanager
async def audited(tmp_path: Path, app: Any) -> AsyncIterator[Served]:
    """`app` behind the gate; the log is at `tmp_path/audit`."""
    gate = AuditGate(app, AuditLog(tmp_path / "audit"), lambda: "unix:///d.sock")
    async with serving(gate, tmp_path) as served:
        yield served


def records(tmp_path: Path) -> list[dict[str, Any]]:
    """What is in the log."""
    path = tmp_path / "audit"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_change_is_written_down_before_it_is_answered(tmp_path: Path) -> None:
    """Who, what, which object, what came of it; and nothing that could be a secret."""
    app = answering(201, b'{"Id":"abc","Warnings":[]}')
    async with audited(tmp_path, app) as served:
        query = "name=web&platform=linux&buildargs=%7B%22T%22%3A%22secret%22%7D&remote=http://u:secret@h"
        assert b"201 Created" in await served.ask(post(f"/v1.44/containers/create?{query}"))
        (record,) = records(tmp_path)
    assert record.pop("duration_s") >= 0
    assert record.pop("time").endswith("Z")
    assert record == {
        "method": "POST",
        "path": "/containers/create",
        "operation": "ContainerCreate",
        "object": "abc",
        "parameters": {"name": "web", "platform": "linux"},
        "status": 201,
        "socket": "unix:///d.sock",
        "uid": os.getuid(),
        "gid": os.getgid(),
        "pid": os.getpid(),
    }
    assert "secret" not in (tmp_path / "audit").read_text()
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o600


async def test_reading_is_not_written_down(tmp_path: Path) -> None:
    """But the GET by which a process can be written to."""
    async with audited(tmp_path, answering(200, b"{}")) as served:
        await served.ask(get("/containers/json", close=True))
        await served.ask(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        assert records(tmp_path) == []
        await served.ask(get("/v1.44/containers/a/attach/ws", close=True))
    assert [r["operation"] for r in records(tmp_path)] == ["ContainerAttachWebsocket"]


async def test_refusals_tell_why(tmp_path: Path) -> None:
    """Those of gates; other errors may repeat what was sent, and are a status only."""
    for status in (403, 400):
        async with audited(tmp_path, answering(status, b'{"message":"invalid secret"}')) as served:
            await served.ask(post("/containers/web/stop"))
        (tmp_path / "api.sock").unlink()
    denied, bad = records(tmp_path)
    assert (denied["status"], denied["error"]) == (403, "invalid secret")
    assert (denied["object"], denied["operation"]) == ("web", "ContainerStop")
    assert "error" not in bad


async def test_a_connection_that_is_taken_over(tmp_path: Path) -> None:
    """It is in the log when the client hears of it, and once."""

    async def serve(_: object, stream: HijackedStream) -> None:
        await stream.send_all(b"%d" % len(records(tmp_path)))

    async def view() -> HijackResponse:
        return HijackResponse(serve)

    async with audited(tmp_path, routes(("POST", "/containers/a/attach", view))) as served:
        answer = await served.ask(
            post("/containers/a/attach", b"", "Connection: Upgrade\r\nUpgrade: tcp\r\n")
        )
    assert answer.endswith(b"\r\n\r\n1")
    assert [(r["operation"], r["status"]) for r in records(tmp_path)] == [("ContainerAttach", 101)]


async def test_a_client_that_leaves(tmp_path: Path) -> None:
    """Its request may have been carried out: it is in the log, without a status."""
    begun, ended = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with audited(tmp_path, app) as served:
        client = await served.connect()
        await client.send(post("/containers/a/kill?signal=9"))
        await begun.wait()
        await client.stream.aclose()
        with trio.fail_after(60):
            await ended.wait()
            while not records(tmp_path):
                await trio.sleep(0.01)
    (record,) = records(tmp_path)
    assert (record["status"], record["parameters"]) == (0, {"signal": "9"})


def a_record(number: int) -> AuditRecord:
    """One of many."""
    return AuditRecord(
        time="t", method="POST", path=f"/{number}", status=204, duration_s=0.0, socket="s"
    )


async def test_the_log_is_bounded(tmp_path: Path) -> None:
    """Files of a size, so many of them; the newest lines are the ones that are kept."""
    log = AuditLog(tmp_path / "a" / "audit", max_bytes=1000, max_files=3)
    for number in range(200):
        await log.write(a_record(number))
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["audit", "audit.1", "audit.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    paths = [
        json.loads(line)["path"] for file in files[::-1] for line in file.read_text().splitlines()
    ]
    assert paths == [f"/{number}" for number in range(200 - len(paths), 200)]
    assert len(paths) > 20


async def test_a_disk_that_refuses_stops_nobody(tmp_path: Path) -> None:
    """It is counted, and the engine's log has it."""
    (tmp_path / "file").touch()
    log = AuditLog(tmp_path / "file" / "audit")
    await log.write(a_record(1))
    assert log.lost == 1
