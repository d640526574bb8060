"""An attached session carries bytes both ways and ends as dockerd's does."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import trio
import trio.testing

from services.containers.attach import AttachEnd, serve_attach
from services.containers.logs import FileLog, FileOptions, JsonLines, LogQuery, LogReader
from services.containers.stdio import Stream
from services.containers.stdio.detach import DEFAULT_DETACH_KEYS
from tests.services.containers.stdio.shim import make_stdio, running


class Session:
    """A client attached to a process, over a stream in memory."""

    def __init__(self, *, multiplexed: bool, stdin: bool) -> None:
        self.client, self.peer = trio.testing.memory_stream_pair()
        self.multiplexed = multiplexed
        self.stdin = stdin
        self.attached = trio.Event()
        self.ended = trio.Event()
        self.end: AttachEnd | None = None

    async def serve(self, stdio: object, replay: AsyncIterator[bytes] | None = None) -> None:
        async with stdio.attach(  # type: ignore[attr-defined]
            stdout=True, stderr=True, stdin=self.stdin, after_log=replay is not None
        ) as streams:
            self.attached.set()
            self.end = await serve_attach(
                streams,
                self.peer,
                multiplexed=self.multiplexed,
                detach_keys=DEFAULT_DETACH_KEYS,
                stdin=self.stdin,
                replay=replay,
            )
        await self.peer.aclose()
        self.ended.set()

    async def output(self) -> bytes:
        """All that the client gets."""
        got = b""
        while data := await self.client.receive_some():
            got += data
        return got


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The (stream, payload) of a multiplexed answer."""
    found = []
    while data:
        stream, size = struct.unpack(">BxxxL", data[:8])
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


async def test_output_is_framed_without_a_tty(tmp_path: Path) -> None:
    """Each block comes with its stream's number and size; the end of the process ends it."""
    stdio = make_stdio(tmp_path)
    session = Session(multiplexed=True, stdin=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        await trio.testing.wait_all_tasks_blocked()
        async with running(stdio) as shim:
            await shim.write(Stream.STDOUT, b"out" * 20_000)
            await shim.write(Stream.STDERR, b"err")
        got = frames(await session.output())
    assert session.end is AttachEnd.PROCESS_ENDED
    assert b"".join(text for stream, text in got if stream == Stream.STDOUT) == b"out" * 20_000
    assert b"".join(text for stream, text in got if stream == Stream.STDERR) == b"err"


async def test_output_is_raw_with_a_tty(tmp_path: Path) -> None:
    """A tty's bytes come as they are."""
    stdio = make_stdio(tmp_path, tty=True, stdin=True)
    session = Session(multiplexed=False, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        await trio.testing.wait_all_tasks_blocked()
        async with running(stdio) as shim:
            await session.client.send_all(b"ls\r")
            assert await shim.read_stdin(3) == b"ls\r"
            await shim.write(Stream.STDOUT, b"\x01ls\r\n")
        assert await session.output() == b"\x01ls\r\n"


async def test_detach_keys_end_only_the_session(tmp_path: Path) -> None:
    """Split over reads they detach; a sequence that is not completed reaches the process."""
    stdio = make_stdio(tmp_path, tty=True, stdin=True, stdin_once=True)
    session = Session(multiplexed=False, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio) as shim:
            for key in (b"a", b"\x10", b"b", b"\x10", b"\x11never"):
                await session.client.send_all(key)
                await trio.testing.wait_all_tasks_blocked()
            await session.ended.wait()
            assert await shim.read_stdin(3) == b"a\x10b"
            assert session.end is AttachEnd.DETACHED
            assert not stdio.drained
        assert await session.output() == b""


async def test_detach_keys_are_plain_bytes_without_a_tty(tmp_path: Path) -> None:
    """Only a tty has detach keys."""
    stdio = make_stdio(tmp_path, stdin=True, stdin_once=True)
    session = Session(multiplexed=True, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio) as shim:
            await session.client.send_all(b"\x10\x11x")
            assert await shim.read_stdin(3) == b"\x10\x11x"
    assert session.end is AttachEnd.PROCESS_ENDED


async def test_end_of_input_closes_stdin_once(tmp_path: Path) -> None:
    """With StdinOnce the client's end of input ends the process's, and output goes on."""
    closed = trio.Event()

    async def tell() -> None:
        closed.set()

    stdio = make_stdio(tmp_path, stdin=True, stdin_once=True, on_stdin_closed=tell)
    session = Session(multiplexed=True, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio) as shim:
            await session.client.send_all(b"last")
            await session.client.send_eof()
            await closed.wait()
            assert await shim.read_stdin(4) == b"last"
            await shim.write(Stream.STDOUT, b"after")
        assert frames(await session.output()) == [(Stream.STDOUT, b"after")]


async def test_end_of_input_ends_the_session_otherwise(tmp_path: Path) -> None:
    """Without StdinOnce the process keeps its stdin, and the session is over, as in dockerd."""
    stdio = make_stdio(tmp_path, stdin=True)
    session = Session(multiplexed=True, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio):
            await session.client.send_all(b"x")
            await session.client.send_eof()
            await session.ended.wait()
            assert session.end is AttachEnd.CLIENT_GONE


async def test_end_of_input_without_stdin_means_nothing(tmp_path: Path) -> None:
    """The CLI half-closes at once when it has no stdin to send; output goes on."""
    stdio = make_stdio(tmp_path)
    session = Session(multiplexed=True, stdin=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio) as shim:
            await session.client.send_eof()
            await trio.testing.wait_all_tasks_blocked()
            await shim.write(Stream.STDOUT, b"still here")
        assert frames(await session.output()) == [(Stream.STDOUT, b"still here")]


async def test_client_that_vanishes_ends_its_session(tmp_path: Path) -> None:
    """Output that nobody takes ends the session, closes stdin, and stops nothing else."""
    closed = trio.Event()

    async def tell() -> None:
        closed.set()

    stdio = make_stdio(tmp_path, stdin=True, stdin_once=True, on_stdin_closed=tell)
    session = Session(multiplexed=True, stdin=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, stdio)
        async with running(stdio) as shim:
            await session.client.aclose()
            await shim.write(Stream.STDOUT, b"anyone?")
            await session.ended.wait()
            await closed.wait()
            assert session.end is AttachEnd.CLIENT_GONE


async def test_log_then_live_without_gap_or_double(tmp_path: Path) -> None:
    """`logs=1&stream=1`: the log so far, the unfinished line, and what comes after."""
    log = FileLog(tmp_path / "c-json.log", FileOptions(), JsonLines())
    stdio = make_stdio(tmp_path, log=log)
    session = Session(multiplexed=True, stdin=False)
    async with trio.open_nursery() as nursery:
        async with running(stdio) as shim:
            async with stdio.attach(stdout=True, stderr=True, stdin=False) as first:
                await shim.write(Stream.STDOUT, b"one\ntwo")
                await first.receive()

            async def serve() -> None:
                reader = LogReader(files=log.files, feed=log.feed, format=log.format)
                query = LogQuery(upto=log.feed.extent)
                async with reader.read(query) as replay:
                    await session.serve(stdio, replay)

            nursery.start_soon(serve)
            await session.attached.wait()
            await shim.write(Stream.STDOUT, b" three\n")
        got = frames(await session.output())
    assert got == [(1, b"one\n"), (1, b"two"), (1, b" three\n")]
