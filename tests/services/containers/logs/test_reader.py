"""Logs are read from either end, across rotations, and as they grow."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from services.containers.logs import LogQuery
from services.containers.logs.tail import _STEP_BYTES
from services.containers.stdio import Stream
from services.containers.stdio.streams import frame_header
from tests.services.containers.logs.conftest import MakeLog
from tests.services.containers.logs.lines import make_json_log, raw, read, write
from tests.support.clocks import wait_settled


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("max_bytes", [None, 500, 20_000])
async def test_tail_of_every_size(
    tmp_path: Path, make_log: MakeLog, max_bytes: int | None, compress: bool
) -> None:
    """The last n lines, for n from none to more than all, over any number of files."""
    log = make_log(tmp_path, max_bytes=max_bytes, compress=compress)
    log.open(None)
    lines = [b"line %d %s\n" % (n, b"x" * (n % 300)) for n in range(300)]
    for line in lines:
        write(log, line)
    log.close()
    assert await read(log, raw()) == b"".join(lines)
    for tail in (0, 1, 2, 7, 100, 299, 300, 301, 10_000):
        expected = b"".join(lines[-tail:]) if tail else b""
        assert await read(log, raw(tail=tail)) == expected


async def test_tail_around_the_size_of_a_step(tmp_path: Path) -> None:
    """No line is lost or doubled where one backward read meets the next."""
    log = make_json_log(tmp_path)
    log.open(None)
    overhead = len(b'{"log":"\\n","stream":"stdout","time":"2026-11-23T12:58:29.599019133Z"}\n')
    lines = [bytes([97 + n]) * 9000 + b"\n" for n in range(20)]
    for line in lines:
        write(log, line)
    log.close()
    data = log.files.path.read_bytes()
    for cut in range(_STEP_BYTES - 3, _STEP_BYTES + 4):
        end = b'{"log":"' + b"z" * (cut - overhead) + b'\\n","stream":"stdout","time":"'
        log.files.path.write_bytes(data + end + b'2026-11-23T12:58:29.599019133Z"}\n')
        got = await read(log, raw(tail=2))
        assert got == lines[-1] + b"z" * (cut - overhead) + b"\n"


async def test_tail_reads_only_the_end(tmp_path: Path) -> None:
    """The tail of a log of many gigabytes touches its end only: the rest is a hole here."""
    log = make_json_log(tmp_path)
    log.open(None)
    write(log, b"first\n")
    log.close()
    with log.files.path.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek(1 << 40)
        file.write(b"\n")
    log.open(None)
    write(log, b"a\nb\n")
    log.close()
    with trio.fail_after(60):
        assert await read(log, raw(tail=2)) == b"a\nb\n"


async def test_streams_and_frames(tmp_path: Path, make_log: MakeLog) -> None:
    """A frame for each line; only the streams asked for; tail counts lines of both, as dockerd."""
    log = make_log(tmp_path)
    log.open(None)
    write(log, b"1\n2\n")
    write(log, b"3\n", Stream.STDERR)
    log.close()
    out, err = frame_header(Stream.STDOUT, 2), frame_header(Stream.STDERR, 2)
    assert await read(log, LogQuery()) == out + b"1\n" + out + b"2\n" + err + b"3\n"
    only_out = frozenset({Stream.STDOUT})
    assert await read(log, LogQuery(streams=only_out)) == out + b"1\n" + out + b"2\n"
    assert await read(log, LogQuery(streams=only_out, tail=1)) == b""


async def test_timestamps_and_details(tmp_path: Path) -> None:
    """Time with nine digits, then attributes, then the line, as dockerd prints them."""
    log = make_json_log(tmp_path)
    log.files.path.write_bytes(
        b'{"log":"hi\\n","stream":"stdout","attrs":{"b":"2 3","A":"1"},'
        b'"time":"2026-11-23T12:58:29.5Z"}\n'
    )
    expected = b"2026-11-23T12:58:29.500000000Z A=1,b=2+3 hi\n"
    assert await read(log, raw(timestamps=True, details=True)) == expected


async def test_since_and_until(tmp_path: Path) -> None:
    """From `since` on, up to `until`, both included."""
    log = make_json_log(tmp_path)
    times = ["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z", "1970-01-01T00:00:02Z"]
    log.files.path.write_bytes(
        b"".join(
            b'{"log":"%d\\n","stream":"stdout","time":"%b"}\n' % (n, time.encode())
            for n, time in enumerate(times)
        )
    )
    second = 1_000_000_000
    assert await read(log, raw(since_ns=second + 1)) == b"1\n2\n"
    assert await read(log, raw(since_ns=second)) == b"0\n1\n2\n"
    assert await read(log, raw(until_ns=second)) == b"0\n"
    assert await read(log, raw(since_ns=second + 1, until_ns=2 * second - 1)) == b"1\n"


async def test_torn_lines_are_left_out(tmp_path: Path) -> None:
    """What a crash of the machine left of a line is not shown, and cut off by the next run."""
    log = make_json_log(tmp_path)
    log.open(None)
    write(log, b"good\n")
    log.close()
    good = log.files.path.read_bytes()
    log.files.path.write_bytes(b"\x00\x00garbage\n" + good + b'{"log":"to')
    assert await read(log, raw()) == b"good\n"
    log.open(None)
    write(log, b"more\n")
    log.close()
    assert await read(log, raw()) == b"good\nmore\n"


@pytest.mark.parametrize("compress", [False, True])
async def test_follower_sees_each_line_once_while_the_log_rotates(
    tmp_path: Path, make_log: MakeLog, compress: bool
) -> None:
    """Followers that begin at any time see all lines from there to the end of the run."""
    log = make_log(tmp_path, max_bytes=3_000, compress=compress)
    log.open(None)
    log.announce()
    lines = [b"line %d\n" % n for n in range(3_000)]
    results: dict[int, bytes] = {}
    chance = random.Random(1)

    async def follow(begin: int) -> None:
        results[begin] = await read(log, raw(follow=True, tail=begin % 7))

    async with trio.open_nursery() as nursery:
        position = 0
        while position < len(lines):
            count = chance.randrange(1, 60)
            await trio.to_thread.run_sync(write, log, b"".join(lines[position : position + count]))
            log.announce()
            position = min(len(lines), position + count)
            if chance.random() < 0.2:
                nursery.start_soon(follow, position)
                await wait_settled()  # it has begun to read
        log.announce(ended=True)
        log.close()
    assert len(results) > 5
    for begin, got in results.items():
        assert got == b"".join(lines[begin - begin % 7 :])


async def test_follower_of_a_silent_run_waits(tmp_path: Path, make_log: MakeLog) -> None:
    """A run that has written nothing keeps its followers until it ends."""
    log = make_log(tmp_path)
    log.open(None)
    log.announce()
    got: list[bytes] = []

    async def follow() -> None:
        got.append(await read(log, raw(follow=True)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await wait_settled()
        assert got == []
        write(log, b"last\n")
        log.close()
        log.announce(ended=True)
    assert got == [b"last\n"]


async def test_reader_sees_only_what_was_announced(tmp_path: Path, make_log: MakeLog) -> None:
    """A line that the pump has not told the attached about is not in the log yet for readers."""
    log = make_log(tmp_path)
    log.open(None)
    write(log, b"1\n")
    log.announce()
    upto = log.feed.extent
    write(log, b"2\n")
    assert await read(log, raw()) == b"1\n"
    log.announce()
    assert await read(log, raw(upto=upto)) == b"1\n"
    assert await read(log, raw(tail=1)) == b"2\n"
    log.close()


async def test_absent_log_is_empty(tmp_path: Path, make_log: MakeLog) -> None:
    """A container that never ran has an empty log."""
    log = make_log(tmp_path)
    assert await read(log, raw(follow=True, tail=5)) == b""
