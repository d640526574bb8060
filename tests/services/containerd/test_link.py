"""Calls on one connection, against a server made of another HTTP/2 implementation."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from services.containerd._grpc import GRPCError, Status, frame_message
from services.containerd._http2 import PREFACE, encode_settings
from services.containerd._link import STREAM_WINDOW_BYTES, Call, Link

OK = [("grpc-status", "0")]
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
Answer = Callable[["Server", int], None]


class Server:
    """Answers each call once its request is whole, by `answer`; counts what it was sent."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        config = h2.config.H2Configuration(client_side=False)
        self.h2 = h2.connection.H2Connection(config)
        self.received: dict[int, bytes] = {}
        self.resets: list[int] = []
        self.is_reading = True  # gives room back for what it was sent
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._answer = answer
        self._waiting: dict[int, bytes] = {}  # to be sent, as room comes

    async def run(self) -> None:
        self.h2.initiate_connection()
        while True:
            await self.flush()
            data = b""
            with suppress(OSError, trio.ClosedResourceError):
                data = await self._socket.recv(65536)
            if not data:
                return
            for event in self.h2.receive_data(data):
                self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            number = event.stream_id
            self.received[number] = self.received.get(number, b"") + event.data
            if self.is_reading:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(self, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append(event.stream_id)

    async def flush(self) -> None:
        while True:
            for number in [*self._waiting]:
                self._send_some(number)
            data = self.h2.data_to_send()
            if not data:
                return
            while data:
                data = data[await self._socket.send(data) :]

    def send(self, number: int, *messages: bytes) -> None:
        self.h2.send_headers(number, HEADERS)
        self._waiting[number] = b"".join(map(frame_message, messages))

    def _send_some(self, number: int) -> None:
        rest = self._waiting[number]
        size = min(len(rest), self.h2.local_flow_control_window(number), 16384)
        if size:
            self.h2.send_data(number, rest[:size])
            self._waiting[number] = rest[size:]
        if not self._waiting[number]:
            del self._waiting[number]
            self.h2.send_headers(number, OK, end_stream=True)


def echo(server: Server, number: int) -> None:
    """The request comes back."""
    server.send(number, server.received[number][5:])


@asynccontextmanager
async def linked(answer: Answer = echo) -> AsyncIterator[tuple[Link, Server]]:
    """A link and its server, both at work."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link, server = Link(ours), Server(theirs, answer)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            await nursery.start(link.run)
            yield link, server
            nursery.cancel_scope.cancel()
    theirs.close()


async def call(link: Link, message: bytes) -> bytes | None:
    """One message, one answer."""
    opened = await link.open_call("/a.B/C", (("x", "y"),))
    try:
        await opened.send(message, end=True)
        return await opened.receive()
    finally:
        opened.close()


@pytest.mark.parametrize("size", [0, 1, 16384, 70_000, 3_000_000, 9_000_000])
async def test_messages_of_any_size(size: int) -> None:
    """Longer than a frame, than both windows, and than what may wait to be written."""
    message = bytes(range(256)) * (size // 256 + 1)
    async with linked() as (link, _):
        assert await call(link, message[:size]) == message[:size]
        assert await call(link, b"again") == b"again"


async def test_calls_side_by_side() -> None:
    """Each gets its own answer; none is kept afterwards."""
    async with linked() as (link, _):
        found: dict[int, bytes | None] = {}

        async def ask(number: int) -> None:
            found[number] = await call(link, b"%d" % number * 30_000)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, number)
        assert found == {number: b"%d" % number * 30_000 for number in range(50)}
        assert not link._calls


async def test_a_reader_that_stops_holds_up_no_other() -> None:
    """It is sent no more than its own window."""

    def much(server: Server, number: int) -> None:
        if server.received[number][5:] == b"much":
            server.send(number, *[bytes(100_000)] * 100)
        else:
            server.send(number, b"little")

    async with linked(much) as (link, server):
        stopped = await link.open_call("/a.B/C", ())
        await stopped.send(b"much", end=True)
        assert await stopped.receive() == bytes(100_000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert 3_000_000 < stopped._unread_bytes <= STREAM_WINDOW_BYTES
        assert await call(link, b"other") == b"little"
        for _ in range(99):
            assert await stopped.receive() == bytes(100_000)
        assert await stopped.receive() is None
        stopped.close()
        assert not server.resets


async def test_a_peer_that_takes_no_more_is_waited_for() -> None:
    """A sender blocks, can be cancelled, and other calls still get through."""
    async with linked() as (link, server):
        server.is_reading = False
        sender = await link.open_call("/a.B/C", ())
        with trio.move_on_after(0.2) as scope:
            await sender.send(bytes(200_000), end=True)
        assert scope.cancelled_caught
        sender.close()
        server.h2.increment_flow_control_window(1_000_000)
        server.is_reading = True
        await server.flush()
        assert await call(link, b"other") == b"other"
        assert server.resets == [sender.id]


async def test_a_cancelled_call_is_called_off() -> None:
    """The peer hears of it."""
    async with linked(lambda server, number: None) as (link, server):
        with trio.move_on_after(0.1):
            await call(link, b"never answered")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.resets == [1]
        assert not link._calls


async def test_an_error_is_raised_with_its_words() -> None:
    """Also without any message before."""

    def refuse(server: Server, number: int) -> None:
        trailers = [*HEADERS, ("grpc-status", "6"), ("grpc-message", "it is there")]
        server.h2.send_headers(number, trailers, end_stream=True)

    async with linked(refuse) as (link, _):
        with pytest.raises(GRPCError) as caught:
            await call(link, b"x")
        assert (caught.value.status, caught.value.message) == (Status.ALREADY_EXISTS, "it is there")


@pytest.mark.parametrize("how", ["closed", "reset", "goes away", "given up"])
async def test_a_lost_connection_ends_every_call(how: str) -> None:
    """With an OSError; and those that come later at once."""
    async with linked(lambda server, number: None) as (link, server):
        opened = [await link.open_call("/a.B/C", ()) for _ in range(3)]
        ended: list[Call] = []

        async def wait(one: Call) -> None:
            await one.send(b"x", end=True)
            with pytest.raises(OSError, match="the c"):
                await one.receive()
            ended.append(one)

        async with trio.open_nursery() as nursery:
            for one in opened:
                nursery.start_soon(wait, one)
            await trio.testing.wait_all_tasks_blocked(0.05)
            if how == "closed":
                server._socket.close()
            elif how == "given up":
                link.close()
            elif how == "reset":
                for one in opened:
                    server.h2.reset_stream(one.id)
            else:
                server.h2.close_connection()
            if how in ("reset", "goes away"):
                await server.flush()
        assert len(ended) == 3
        if how != "reset":
            assert link.lost.is_set()
            with pytest.raises(OSError, match="lost"):
                await link.open_call("/a.B/C", ())


async def test_a_limit_on_calls_is_kept() -> None:
    """Those above it wait until one has ended."""
    async with linked(lambda server, number: None) as (link, server):
        server.h2.update_settings({3: 1})
        await server.flush()
        await trio.testing.wait_all_tasks_blocked(0.05)
        first = await link.open_call("/a.B/C", ())
        with trio.move_on_after(0.1) as scope:
            await link.open_call("/a.B/C", ())
        assert scope.cancelled_caught
        first.close()
        (await link.open_call("/a.B/C", ())).close()


@pytest.mark.parametrize(
    "nonsense",
    [
        encode_settings([]) + b"\0\0\1\0\0\0\0\0\0x",  # data of no stream
        encode_settings([]) + b"\0\0\4\1\4\0\0\0\1\xff\xff\xff\xff",  # headers that are none
        encode_settings([]) + b"\0\0\1\1\0\0\0\0\1x" + encode_settings([]),  # that do not end
        b"\0\0\5\4\0\0\0\0\0\0\0\0\0\0",  # half a setting
        PREFACE,
    ],
)
async def test_a_peer_that_breaks_the_rules_is_left(nonsense: bytes) -> None:
    """No error comes out of `run`, and nothing waits on."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link = Link(ours)
    with trio.fail_after(10):
        theirs.sendall(nonsense)
        await link.run()
        assert link.lost.is_set()
    theirs.close()
