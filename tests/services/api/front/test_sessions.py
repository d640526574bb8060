"""What an answer stands on while it is sent: opened before its head, closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from services.api.http.hijack import HijackedStream
from services.api.wire.responses import HijackResponse, StreamResponse
from services.errors import Conflict
from tests.services.api.client import Api
from tests.services.api.support import routes, serving


@asynccontextmanager
async def session(*, is_possible: bool) -> AsyncIterator[Any]:
    """One that can be opened, or not."""
    if not is_possible:
        raise Conflict("not now")
    yield


async def test_a_session_that_cannot_be_opened_is_an_ordinary_answer(tmp_path: Path) -> None:
    """For a stream and for a hijack: the head has not left."""

    async def stream() -> StreamResponse:
        return StreamResponse(session(is_possible=False))

    async def hijack() -> HijackResponse:
        async def handler(session: object, peer: HijackedStream) -> None:
            raise AssertionError("never reached")

        return HijackResponse(handler, session=session(is_possible=False))

    app = routes(("GET", "/stream", stream), ("GET", "/hijack", hijack))
    async with serving(app, tmp_path) as served:
        api = Api(served)
        for path in ("/stream", "/hijack"):
            answer = await api.call("GET", path)
            assert (answer.status, answer.message) == (409, "not now")


async def test_a_session_is_open_before_the_head_and_closed_after_the_answer(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Also when the client hangs up in the middle; a session may have tasks of its own."""
    events: list[str] = []
    closed = trio.Event()

    @asynccontextmanager
    async def observed() -> AsyncIterator[AsyncIterable[bytes]]:
        send, receive = trio.open_memory_channel[bytes](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send.send, b"one")
            events.append("open")
            try:
                yield receive
            finally:
                events.append("closed")
                closed.set()
                nursery.cancel_scope.cancel()

    async def view() -> StreamResponse:
        return StreamResponse(observed())

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        async with Api(served).stream("GET", "/") as stream:
            assert events == ["open"]
            assert await stream.part() == b"one"
        await closed.wait()
    assert events == ["open", "closed"]
