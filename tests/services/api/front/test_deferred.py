"""The routes' app while it is being built, by what its clients and the loop see."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from services.api.front.app import build_routes
from services.api.front.deferred import TURN_S, DeferredApp
from services.api.front.fast import FastRoutes
from services.api.front.front import Front
from services.api.http.asgi import ASGIApp
from tests.services.api.support import ENGINE, get, serving


async def test_a_deferred_app_answers_pings_meanwhile(tmp_path: Path) -> None:
    """While the routes are being built, `/_ping` is answered and other requests wait for them."""

    def build() -> ASGIApp:
        trio.from_thread.run(go.wait)
        return build_routes([], identity=ENGINE)

    go = trio.Event()
    deferred = DeferredApp(lambda: build)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        async with serving(Front(deferred, FastRoutes(ENGINE)), tmp_path) as served:
            waiting = await served.connect()
            await waiting.send(get("/nope"))
            assert (await served.ask(get("/_ping", close=True))).endswith(b"OK")
            go.set()
            assert (await waiting.answer())[0] == 404
            await deferred.run()  # a restart finds it built


async def test_the_loop_has_short_turns_while_an_app_is_built() -> None:
    """Who is answered meanwhile does not wait for a thread that imports; then all is as before."""
    seen = []

    def build() -> ASGIApp:
        seen.append(sys.getswitchinterval())
        return build_routes([], identity=ENGINE)

    before = sys.getswitchinterval()
    await DeferredApp(lambda: build).run()
    assert seen == [pytest.approx(TURN_S)]
    assert sys.getswitchinterval() == before
