"""How a server ends: who may finish, who is ended well-formed, who is cut."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from services.api.http.drain import Drain
from services.api.http.hijack import HijackedStream
from services.api.http.server import ApiServer
from services.api.wire.responses import HijackResponse, StreamResponse
from tests.services.api.support import UnixListener, echo_app, get, routes, running, serving


async def test_an_idle_server_ends_at_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Connections that have been served and ask nothing are closed without waiting."""
    async with serving(echo_app, tmp_path) as served:
        client = await served.connect()
        await client.send(get("/a"))
        await client.answer()
        before = trio.current_time()
        served.stop.event.set()
        assert await client.rest() == b""
        await served.ended.wait()
        assert trio.current_time() - before < 0.01


async def test_a_fresh_connection_gets_a_second(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A client that connected just before the stop is still served, within 1 s."""
    async with serving(echo_app, tmp_path) as served:
        quick, silent = await served.connect(), await served.connect()
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        served.stop.event.set()
        await trio.sleep(0.5)
        await quick.send(get("/a"))
        answer = await quick.rest()
        assert answer.endswith(b"GET /a 0 ")
        assert b"Connection: close" in answer
        assert await silent.rest() == b""
        await served.ended.wait()
        assert 0.9 < trio.current_time() - before < 1.1


async def test_a_running_request_completes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """An answer that comes within the drain's time arrives whole and says that it is the last."""

    async def view() -> str:
        await trio.sleep(2)
        return "done"

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        await trio.sleep(0.5)
        served.stop.event.set()
        answer = await client.rest()
        assert answer.endswith(b"\r\n\r\ndone")
        assert b"Connection: close" in answer
        await served.ended.wait()


async def test_an_endless_answer_ends_with_its_last_chunk(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """events, logs -f and stats end well-formed, at once, and their generators are cleaned up."""
    cleaned = False

    async def view() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            nonlocal cleaned
            try:
                yield b"one"
                await trio.sleep_forever()
            finally:
                cleaned = True

        return StreamResponse(parts(), endless=True)

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get())
        await client.until(b"one\r\n")
        before = trio.current_time()
        served.stop.event.set()
        assert await client.rest() == b"0\r\n\r\n"
        await served.ended.wait()
        assert trio.current_time() - before < 0.01
        assert cleaned


async def test_what_does_not_end_is_cut_at_the_deadline(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A silent handler, a stalled reader and a hijacked stream last until the deadline."""

    async def silent() -> str:
        await trio.sleep(math.inf)
        return ""

    async def finite() -> StreamResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536

        return StreamResponse(parts())

    async def taken() -> HijackResponse:
        async def handler(_: object, stream: HijackedStream) -> None:
            while await stream.receive_some():
                pass

        return HijackResponse(handler)

    app = routes(("GET", "/silent", silent), ("GET", "/finite", finite), ("GET", "/taken", taken))
    async with serving(app, tmp_path, drain_s=5.0) as served:
        clients = []
        for path in ("/silent", "/finite", "/taken"):
            clients.append(await served.connect())
            await clients[-1].send(get(path))
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        served.stop.event.set()
        await served.ended.wait()
        assert 4.9 < trio.current_time() - before < 7.1


async def test_a_request_that_is_being_sent_is_served(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Half a head at the moment of the stop, the rest soon after: an answer, not a close."""
    async with serving(echo_app, tmp_path) as served:
        client = await served.connect()
        await client.send(b"GET /a HTTP/1.1\r\n")
        await trio.testing.wait_all_tasks_blocked()
        served.stop.event.set()
        await trio.sleep(0.5)
        await client.send(b"Host: d\r\n\r\n")
        assert (await client.rest()).endswith(b"GET /a 0 ")


async def test_pipelined_requests_in_hand_are_answered(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Of requests sent before the stop, the one in hand is answered and says it is the last."""

    async def view() -> str:
        await trio.sleep(1)
        return "done"

    async with serving(routes(("GET", "/", view)), tmp_path) as served:
        client = await served.connect()
        await client.send(get() + get())
        await trio.sleep(0.5)
        served.stop.event.set()
        answer = await client.rest()
        assert answer.count(b"done") == 1
        assert answer.count(b"Connection: close") == 1


async def test_the_endless_scope_of_a_drain_that_has_begun_is_cancelled() -> None:
    """Who comes late finds the drain begun."""
    drain = Drain()
    drain.begin()
    with drain.ends() as scope:
        await trio.sleep(math.inf)
    assert scope.cancelled_caught
    await drain.wait()


async def test_restarts_under_load_refuse_and_cut_nobody(tmp_path: Path) -> None:
    """Ten servers in a row on one socket, clients all the while: every request is answered."""
    listener = UnixListener(tmp_path / "api.sock")
    answered, finished, over = trio.Semaphore(0), trio.Semaphore(0), trio.Event()

    async def client() -> None:
        while not over.is_set():
            async with await trio.open_unix_socket(str(listener.path)) as stream:
                await stream.send_all(get("/a", close=True))
                answer = b""
                while data := await stream.receive_some(65536):
                    answer += data
                assert answer.endswith(b"GET /a 0 "), answer
                answered.release()
        finished.release()

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client)
        for _ in range(10):
            async with running(echo_app, listener) as (stop, ended):
                for _ in range(40):
                    await answered.acquire()
                stop.event.set()
                await ended.wait()
        async with running(echo_app, listener):
            over.set()
            for _ in range(8):
                await finished.acquire()
    listener.close()


async def test_injected_crashes_refuse_nobody(tmp_path: Path) -> None:
    """A server that fails over and over, started again each time: no connection is refused."""
    listener = UnixListener(tmp_path / "api.sock")
    answered, finished, over = trio.Semaphore(0), trio.Semaphore(0), trio.Event()

    async def client() -> None:
        while not over.is_set():
            # A refused connection would raise here; what was open at the crash is cut.
            async with await trio.open_unix_socket(str(listener.path)) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(get("/a", close=True))
                    while await stream.receive_some(65536):
                        pass
            answered.release()
        finished.release()

    class Crash:
        async def wait(self) -> None:
            for _ in range(40):
                await answered.acquire()
            raise ZeroDivisionError("injected")

    crashing = ApiServer(echo_app, listener, stop_request=Crash)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client)
        for _ in range(10):
            with pytest.raises(ExceptionGroup):
                await crashing.run()
        async with running(echo_app, listener):
            over.set()
            for _ in range(8):
                await finished.acquire()
    listener.close()


async def test_a_crashed_server_is_started_again_on_the_same_socket(tmp_path: Path) -> None:
    """Who connects while there is no server waits in the backlog and is served by the next."""
    listener = UnixListener(tmp_path / "api.sock")
    async with running(echo_app, listener):
        pass  # cancelled: as abrupt as a crash
    stream = await trio.open_unix_socket(str(listener.path))
    await stream.send_all(get("/a", close=True))
    async with running(echo_app, listener):
        assert b"200 OK" in await stream.receive_some(65536)
    await stream.aclose()
    listener.close()
