"""services.api.front.measures: each answer counts once, under its operation, when it begins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import trio
from quart import Blueprint

from services.api.front.app import build_routes
from services.api.front.fast import FastRoutes
from services.api.front.front import Front
from services.api.front.measures import UNKNOWN, ApiMeasures, operation_of
from services.api.wire.responses import EngineResponse, StreamResponse
from services.errors import Conflict
from tests.services.api.support import ENGINE, get, serving


async def answer(ref: str) -> EngineResponse:
    if ref == "busy":
        raise Conflict("it is busy")
    return EngineResponse(b"{}")


async def endless() -> StreamResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"1"
        await trio.sleep_forever()

    return StreamResponse(parts(), endless=True)


async def test_answers_are_counted(tmp_path: Path) -> None:
    """By rule and not by path; errors by their status; what is not there under one name."""
    blueprint = Blueprint("test", __name__)
    blueprint.add_url_rule("/things/<path:ref>/json", "answer", answer, methods=["GET"])
    blueprint.add_url_rule("/endless", "endless", endless, methods=["GET"])
    fast = FastRoutes(ENGINE)
    fast.add_item("GET", "things", "fast", lambda scope, version, ref: b"{}")
    measures = ApiMeasures()
    front = Front(build_routes([blueprint], identity=ENGINE), fast, measures)
    async with serving(front, tmp_path) as served:
        for path in (
            "/things/a/json",
            "/v1.44/things/b/json",
            "/things/busy/json",
            "/things/c/fast",
            "/none/such",
            "/_ping",
        ):
            await served.ask(get(path, close=True))
        client = await served.connect()
        await client.send(get("/endless"))
        await client.until(b"1")
        assert measures.open == 1
        await client.stream.aclose()
        with trio.fail_after(60):
            while measures.open:
                await trio.sleep(0.01)
    assert measures.answers.by_labels == {
        ("GET /things/{ref}/json", "200"): 2,
        ("GET /things/{ref}/json", "409"): 1,
        ("GET /things/{ref}/fast", "200"): 1,
        (UNKNOWN, "404"): 1,
        ("GET /_ping", "200"): 1,
        ("GET /endless", "200"): 1,
    }
    counts = {name: one.count for name, one in measures.durations.by_label.items()}
    assert counts["GET /things/{ref}/json"] == 3


def test_operations_are_spelled_as_in_the_definition() -> None:
    """Without the converters of routes."""
    assert operation_of("GET", "/a/<path:name>/b/<id>") == "GET /a/{name}/b/{id}"
