"""Output reaches log and clients whole and in order, whatever happens to the pump."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from services.containers.logs import FileLog, FileOptions, JsonLines
from services.containers.stdio import AttachedStreams, Stream
from services.containers.stdio.fifos import PIPE_BYTES
from services.containers.stdio.hub import BACKLOG_BYTES
from services.containers.stdio.spool import BLOCK_BYTES
from tests.services.containers.logs.lines import logged_text
from tests.services.containers.stdio.shim import Shim, make_stdio, running


async def collect(streams: AttachedStreams) -> dict[Stream, bytes]:
    """All output to its end."""
    got = {Stream.STDOUT: b"", Stream.STDERR: b""}
    while True:
        try:
            stream, block = await streams.receive()
        except trio.EndOfChannel:
            return got
        got[stream] += block


def json_log(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "c-json.log", FileOptions(max_bytes=None, max_files=1), JsonLines())


async def test_attached_sessions_get_both_streams_whole(tmp_path: Path) -> None:
    """Every session gets all bytes of the streams it asked for, and then the end."""
    stdio = make_stdio(tmp_path)
    results: list[dict[Stream, bytes]] = []

    async def attend(stderr: bool) -> None:
        async with stdio.attach(stdout=True, stderr=stderr, stdin=False) as streams:
            results.append(await collect(streams))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, True)
        nursery.start_soon(attend, False)
        await trio.testing.wait_all_tasks_blocked()
        async with running(stdio) as shim:
            await shim.write(Stream.STDOUT, b"\x00out\xff")
            await shim.write(Stream.STDERR, b"err")
    assert sorted(result[Stream.STDERR] for result in results) == [b"", b"err"]
    assert [result[Stream.STDOUT] for result in results] == [b"\x00out\xff"] * 2


async def test_log_and_attached_get_the_same(tmp_path: Path) -> None:
    """With a log the attached get every byte too, in the same order."""
    log = json_log(tmp_path)
    stdio = make_stdio(tmp_path, log=log)
    text = b"".join(b"line %d\n" % number for number in range(100_000)) + b"and no newline"
    got: list[dict[Stream, bytes]] = []
    async with (
        stdio.attach(stdout=True, stderr=True, stdin=False) as streams,
        trio.open_nursery() as nursery,
    ):

        async def attend() -> None:
            got.append(await collect(streams))

        nursery.start_soon(attend)
        async with running(stdio) as shim:
            await shim.write(Stream.STDOUT, text)
    assert got[0][Stream.STDOUT] == text
    assert logged_text(log) == text


async def test_tty_has_no_stderr(tmp_path: Path) -> None:
    """A process with a tty has one output FIFO; its end is the end."""
    stdio = make_stdio(tmp_path, tty=True)
    async with running(stdio) as shim:
        assert stdio.paths.stderr == ""
        assert not (tmp_path / "io" / "stderr").exists()
        await shim.write(Stream.STDOUT, b"$ ")


async def test_fifos_are_private_and_removed(tmp_path: Path) -> None:
    """The FIFOs have mode 0600 and are gone after close."""
    stdio = make_stdio(tmp_path, stdin=True)
    await stdio.prepare()
    for path in (stdio.paths.stdin, stdio.paths.stdout, stdio.paths.stderr):
        mode = os.stat(path).st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600
    await stdio.close()
    assert not (tmp_path / "io").exists()


async def test_slow_session_holds_up_the_process_and_loses_nothing(tmp_path: Path) -> None:
    """A session that does not receive blocks the process after a bounded number of bytes."""
    stdio = make_stdio(tmp_path)
    size = 8 * BACKLOG_BYTES
    text = os.urandom(size)
    async with (
        stdio.attach(stdout=True, stderr=True, stdin=False) as streams,
        trio.open_nursery() as nursery,
    ):
        await stdio.prepare()
        shim = Shim(stdio.paths)
        await nursery.start(stdio.pump)
        sent = trio.Event()

        async def send() -> None:
            await shim.write(Stream.STDOUT, text)
            sent.set()
            shim.close()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not sent.is_set()
        held = sum(len(block) for _, block in streams._blocks)
        assert BACKLOG_BYTES - BLOCK_BYTES < held <= BACKLOG_BYTES + BLOCK_BYTES
        assert (await collect(streams))[Stream.STDOUT] == text
    await stdio.close()


async def test_vanished_session_holds_up_nobody(tmp_path: Path) -> None:
    """A full session that leaves sets the process free at once."""
    stdio = make_stdio(tmp_path)
    async with trio.open_nursery() as nursery:
        async with stdio.attach(stdout=True, stderr=True, stdin=False):
            await stdio.prepare()
            shim = Shim(stdio.paths)
            await nursery.start(stdio.pump)
            nursery.start_soon(shim.write, Stream.STDOUT, bytes(4 * PIPE_BYTES))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert nursery.child_tasks
        await trio.testing.wait_all_tasks_blocked(0.05)
        shim.close()
        await stdio.wait_drained()
    await stdio.close()


async def test_pump_can_be_ended_and_run_again(tmp_path: Path) -> None:
    """Attached sessions and the log miss nothing of a pump that is cancelled again and again."""
    log = json_log(tmp_path)
    stdio = make_stdio(tmp_path, log=log)
    text = b"".join(b"%d\n" % number for number in range(300_000))
    await stdio.prepare()
    shim = Shim(stdio.paths)
    got: list[dict[Stream, bytes]] = []

    async def send() -> None:
        await shim.write(Stream.STDOUT, text)
        shim.close()

    async def attend() -> None:
        async with stdio.attach(stdout=True, stderr=True, stdin=False) as streams:
            got.append(await collect(streams))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send)
        for turn in range(20):
            async with trio.open_nursery() as life:
                await life.start(stdio.pump)
                for _ in range(turn):
                    await trio.lowlevel.checkpoint()
                life.cancel_scope.cancel()
        await stdio.pump()
    await stdio.close()
    assert got[0][Stream.STDOUT] == text
    assert logged_text(log) == text


class FailingLog(FileLog):
    """Fails each third call, before or after it wrote."""

    calls = 0

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        self.calls += 1
        if self.calls % 6 == 3:
            raise RuntimeError("before")
        return super().write(stream, data, last=last)

    def position(self) -> bytes:
        self.calls += 1
        if self.calls % 7 == 3:
            raise RuntimeError("after")
        return super().position()


async def test_pump_that_crashes_inside_a_step_repeats_nothing(tmp_path: Path) -> None:
    """A crash before or after the log was written costs neither the log nor the attached a byte."""
    log = FailingLog(tmp_path / "c-json.log", FileOptions(max_bytes=None, max_files=1), JsonLines())
    stdio = make_stdio(tmp_path, log=log)
    text = b"".join(b"%d %s\n" % (n, b"x" * (n % 700)) for n in range(20_000)) + b"tail"
    crashes = 0
    got: list[dict[Stream, bytes]] = []

    async def attend() -> None:
        async with stdio.attach(stdout=True, stderr=True, stdin=False) as streams:
            got.append(await collect(streams))

    while True:
        try:
            await stdio.prepare()
        except RuntimeError:
            continue
        break
    shim = Shim(stdio.paths)

    async def send() -> None:
        for start in range(0, len(text), 50_001):
            await shim.write(Stream.STDOUT, text[start : start + 50_001])
        shim.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send)
        while not stdio.drained:
            try:
                await stdio.pump()
            except* RuntimeError:
                crashes += 1
    await stdio.close()
    assert crashes > 3
    assert got[0][Stream.STDOUT] == text
    assert logged_text(log) == text


async def test_exit_ends_the_streams_that_others_hold_open(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What was written before the exit is taken; another holder delays the end by 2 s."""
    stdio = make_stdio(tmp_path)
    await stdio.prepare()
    shim = Shim(stdio.paths)
    async with (
        stdio.attach(stdout=True, stderr=True, stdin=False) as streams,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(stdio.pump)
        await shim.write(Stream.STDOUT, b"last words")
        stdio.process_exited()
        assert (await collect(streams))[Stream.STDOUT] == b"last words"
        assert trio.current_time() == pytest.approx(2.0)
    shim.close()
    await stdio.close()


class FullSpool(FileLog):
    """Stands in for a spool's file system without room, at first."""

    refusals = 1

    def position(self) -> bytes:
        if self.feed.extent is not None and self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().position()


async def test_spool_without_room_delays_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full file system under the spool ends nothing and loses nothing."""
    monkeypatch.setattr("services.containers.stdio.stdio._FULL_PAUSE_S", 0.001)
    log = FullSpool(tmp_path / "c-json.log", FileOptions(), JsonLines())
    stdio = make_stdio(tmp_path, log=log)
    async with (
        stdio.attach(stdout=True, stderr=True, stdin=False) as streams,
        running(stdio) as shim,
    ):
        await shim.write(Stream.STDOUT, b"one\ntwo\n")
        assert await streams.receive() == (Stream.STDOUT, b"one\ntwo\n")
    assert log.refusals == 0
    assert logged_text(log) == b"one\ntwo\n"


@pytest.mark.parametrize("exit_first", [False, True])
async def test_exit_without_a_shim_ends_at_once(tmp_path: Path, exit_first: bool) -> None:
    """A process that never started, or ended before we adopted its FIFOs, is not waited for."""
    stdio = make_stdio(tmp_path, log=json_log(tmp_path))
    async with trio.open_nursery() as nursery:
        if exit_first:
            stdio.process_exited()
            await stdio.pump()
        else:
            await nursery.start(stdio.pump)
            await trio.testing.wait_all_tasks_blocked()
            stdio.process_exited()
            await stdio.wait_drained()
    await stdio.close()


async def test_exit_ends_the_streams_of_an_endless_writer(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A grandchild that writes without end does not keep the streams open."""
    stdio = make_stdio(tmp_path)
    await stdio.prepare()
    shim = Shim(stdio.paths)
    async with trio.open_nursery() as nursery:
        await nursery.start(stdio.pump)

        async def chatter() -> None:
            while True:
                await shim.write(Stream.STDOUT, bytes(65536))
                await trio.sleep(0.001)

        nursery.start_soon(chatter)
        stdio.process_exited()
        await stdio.wait_drained()
        nursery.cancel_scope.cancel()
    shim.close()
    await stdio.close()


async def test_slow_session_gets_all_after_the_exit(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Time in which a slow client holds up the pump does not count against the 2 s."""
    stdio = make_stdio(tmp_path)
    text = os.urandom(4 * BACKLOG_BYTES)
    await stdio.prepare()
    shim = Shim(stdio.paths)

    async def send() -> None:
        await shim.write(Stream.STDOUT, text)
        shim.close()

    async with (
        stdio.attach(stdout=True, stderr=True, stdin=False) as streams,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(stdio.pump)
        nursery.start_soon(send)
        await trio.sleep(1)
        stdio.process_exited()
        await trio.sleep(60)
        assert (await collect(streams))[Stream.STDOUT] == text
    await stdio.close()


async def test_stdin_closes_in_order_and_once(tmp_path: Path) -> None:
    """What was sent arrives before the end; the shim is told once, and only when it is there."""
    told: list[bytes] = []

    async def tell() -> None:
        told.append(b"closed")

    stdio = make_stdio(tmp_path, stdin=True, stdin_once=True, on_stdin_closed=tell)
    async with trio.open_nursery() as nursery:
        async with stdio.attach(stdout=True, stderr=True, stdin=True) as streams:
            # Before the process and even its FIFOs are there: `docker run -i` attaches first.
            nursery.start_soon(streams.send_stdin, b"early")
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(stdio.pump)
            await trio.testing.wait_all_tasks_blocked(0.01)
            streams.close_stdin()
            await trio.testing.wait_all_tasks_blocked()
            assert told == []
            shim = Shim(stdio.paths)
            stdio.process_started()
            assert await shim.read_stdin(5) == b"early"
            await trio.testing.wait_all_tasks_blocked()
            assert told == [b"closed"]
            with pytest.raises(trio.BrokenResourceError):
                await streams.send_stdin(b"late")
        shim.close()
    await stdio.close()
    assert told == [b"closed"]


async def test_stdin_stays_open_without_stdin_once(tmp_path: Path) -> None:
    """Without StdinOnce a session's end of input changes nothing for the next one."""
    stdio = make_stdio(tmp_path, stdin=True)
    async with running(stdio) as shim:
        for _ in range(2):
            async with stdio.attach(stdout=True, stderr=True, stdin=True) as streams:
                await streams.send_stdin(b"x")
                streams.close_stdin()
        assert await shim.read_stdin(2) == b"xx"


async def test_sender_is_freed_when_the_process_ends(tmp_path: Path) -> None:
    """A client that types into a process that does not read is told when it is gone."""
    stdio = make_stdio(tmp_path, stdin=True)
    async with trio.open_nursery() as nursery:

        async def type_much(streams: AttachedStreams) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await streams.send_stdin(bytes(4 * PIPE_BYTES))

        async with (
            stdio.attach(stdout=True, stderr=True, stdin=True) as streams,
            running(stdio),
        ):
            nursery.start_soon(type_much, streams)
            await trio.testing.wait_all_tasks_blocked(0.05)


async def test_attaching_late_begins_with_the_unfinished_line(tmp_path: Path) -> None:
    """Who read the log up to now gets the rest of the line that is not in it yet, once."""
    log = json_log(tmp_path)
    stdio = make_stdio(tmp_path, log=log)
    async with running(stdio) as shim:
        async with stdio.attach(stdout=True, stderr=True, stdin=False) as first:
            await shim.write(Stream.STDOUT, b"done\n$ ")
            await first.receive()
        async with stdio.attach(stdout=True, stderr=True, stdin=False, after_log=True) as second:
            assert await second.receive() == (Stream.STDOUT, b"$ ")
        async with stdio.attach(stdout=True, stderr=True, stdin=False) as third:
            await shim.write(Stream.STDOUT, b"ls\n")
            assert await third.receive() == (Stream.STDOUT, b"ls\n")


async def test_large_transfer_in_constant_memory(tmp_path: Path) -> None:
    """64 MB both ways through a process that echoes arrive unharmed in bounded memory."""
    stdio = make_stdio(tmp_path, stdin=True, stdin_once=True)
    block = os.urandom(256 * 1024)
    count = 256
    await stdio.prepare()
    paths = stdio.paths
    script = 'exec 3<>"$0" 4<>"$1" 5<>"$2"; exec 5>&-; head -c "$3" <&3 >&4'
    command = ["sh", "-c", script, paths.stdin, paths.stdout, paths.stderr]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def type_all(streams: AttachedStreams) -> None:
        for _ in range(count):
            await streams.send_stdin(block)
            sent.update(block)
        streams.close_stdin()

    async def read_all(streams: AttachedStreams) -> None:
        while True:
            try:
                _, data = await streams.receive()
            except trio.EndOfChannel:
                return
            got.update(data)

    async with (
        stdio.attach(stdout=True, stderr=True, stdin=True) as streams,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(stdio.pump)
        nursery.start_soon(type_all, streams)
        nursery.start_soon(read_all, streams)
        await trio.run_process([*command, str(count * len(block))])
        stdio.process_exited()
    await stdio.close()
    assert got.digest() == sent.digest()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 32 * 1024
