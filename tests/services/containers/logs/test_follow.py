"""Who follows a log sees each line once, however it rotates, and is told the end in time."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
import trio

from services.containers.logs import FileLog, LogReader, Packer
from services.containers.logs.files import HELD_BYTES
from services.containers.stdio import Stream
from tests.services.containers.logs.conftest import MakeLog
from tests.services.containers.logs.lines import make_json_log, raw, read, write
from tests.support.clocks import wait_settled


def hidden(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("max_files", "compress"), [(1, False), (2, False), (2, True)])
async def test_a_slow_follower_misses_no_rotation(
    tmp_path: Path, make_log: MakeLog, max_files: int, compress: bool
) -> None:
    """The files that it has not read are kept for it, and go when it has."""
    log = make_log(tmp_path, max_bytes=2_000, max_files=max_files, compress=compress)
    log.open(None)
    write(log, b"first\n")
    log.announce()
    lines = [b"line %d\n" % n for n in range(5_000)]
    reader = LogReader(files=log.files, feed=log.feed, format=log.format)
    got = b""
    async with reader.read(raw(follow=True)) as blocks:
        got += await anext(blocks)
        for first in range(0, len(lines), 100):  # many rotations between two looks
            write(log, b"".join(lines[first : first + 100]))
            log.announce()
        assert hidden(tmp_path)
        with trio.fail_after(100):
            while not got.endswith(lines[-1]):
                got += await anext(blocks)
    assert got == b"first\n" + b"".join(lines)
    assert not hidden(tmp_path)
    assert log.files.unread == 0
    log.close()


async def test_what_is_kept_for_followers_is_bounded(tmp_path: Path) -> None:
    """One that does not read costs so much and no more; then it goes on with what is left."""
    log = make_json_log(tmp_path, max_bytes=2_000, max_files=2)
    log.files._held_limit = 10_000
    log.open(None)
    log.announce()
    reader = LogReader(files=log.files, feed=log.feed, format=log.format)
    async with reader.read(raw(follow=True)) as blocks:
        write(log, b"first\n")
        log.announce()
        assert await anext(blocks) == b"first\n"
        write(log, b"".join(b"line %d\n" % n for n in range(1_000)))
        log.announce()
        kept = sum((tmp_path / name).stat().st_size for name in hidden(tmp_path))
        assert 0 < kept <= 10_000
        assert log.files.unread > 0
        got = b""
        while not got.endswith(b"line 999\n"):
            got += await anext(blocks)
    numbers = [int(line.split()[1]) for line in got.splitlines()]
    assert numbers == sorted(set(numbers))
    assert HELD_BYTES > 10_000
    log.close()


async def test_files_kept_are_gone_after_a_kill(tmp_path: Path) -> None:
    """The next daemon has no followers of the last one's."""
    log = make_json_log(tmp_path, max_bytes=500, max_files=1)
    log.open(None)
    log.announce()
    log.files.follow("somebody", 0)
    write(log, b"x\n" * 100)
    assert hidden(tmp_path)
    heir = make_json_log(tmp_path, max_bytes=500, max_files=1)
    heir.open(None)
    assert not hidden(tmp_path)
    heir.close()


async def test_follow_until_a_time_ends_then(tmp_path: Path, make_log: MakeLog) -> None:
    """Also when nothing is logged any more, and the run goes on."""
    log = make_log(tmp_path)
    log.open(None)
    write(log, b"one\n")
    log.announce()
    with trio.fail_after(100):
        assert await read(log, raw(follow=True, until_ns=time.time_ns() + 10**8)) == b"one\n"
        assert await read(log, raw(follow=True, until_ns=time.time_ns())) == b"one\n"
    log.close()


async def test_removal_ends_the_stream(tmp_path: Path, make_log: MakeLog) -> None:
    """A container that is removed while it is followed: its files go, the run ends, all is well."""
    log = make_log(tmp_path, max_bytes=1_000, max_files=3)
    log.open(None)
    write(log, b"one\n" * 100)
    log.announce()
    got: list[bytes] = []

    async def follow() -> None:
        got.append(await read(log, raw(follow=True)))

    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_settled()
            write(log, b"two\n")
            shutil.rmtree(tmp_path)
            log.close()
            log.announce(ended=True)
    (text,) = got
    assert text.startswith(b"one\n")


async def test_lines_that_are_none_end_nothing(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, a line without end, a hole: left out, and bounded in memory."""
    log = make_json_log(tmp_path)
    log.open(None)
    write(log, b"good\n")
    log.close()
    good = log.files.path.read_bytes()
    broken = b'{"log":"\xff\xfe","time":"2026-01-01T00:00:00Z"}\n{"log":"\\ud800","time":"x"}\n'
    huge = b'{"log":"' + b"x" * 3_000_000
    log.files.path.write_bytes(good + broken + good + huge + b"\n" + good + b"[]\n\n" + good)
    assert await read(log, raw()) == b"good\n" * 4
    assert await read(log, raw(since_ns=1)) == b"good\n" * 4


class _SlowPacking:
    """Holds up each packing until told to go on."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def checkpoint(self) -> None:
        self.began.set()
        assert self.go_on.wait(30)


async def test_writing_goes_on_while_a_file_is_compressed(
    tmp_path: Path, make_log: MakeLog
) -> None:
    """Lines and rotations do not wait for it; the file is then replaced wherever it is by now."""
    log = make_log(tmp_path, max_bytes=2_000, max_files=500, compress=True, packing=lambda log: 0)
    log.open(None)
    lines = [b"line %d\n" % n for n in range(2_000)]
    write(log, b"".join(lines[:1000]))
    slow = _SlowPacking()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, log.pack_one, slow.checkpoint)
        assert await trio.to_thread.run_sync(slow.began.wait, 30)
        write(log, b"".join(lines[1000:]))  # many rotations
        assert not list(tmp_path.glob("*.gz"))
        slow.go_on.set()
    assert len(list(tmp_path.glob("c-json.log.*.gz"))) == 1
    log.close()
    assert await read(log, raw()) == b"".join(lines)


@pytest.mark.parametrize("step", ["half", "renamed"])
async def test_killed_while_compressing(tmp_path: Path, make_log: MakeLog, step: str) -> None:
    """Half a copy is thrown away; a whole one beside its original takes its place."""
    log = make_log(tmp_path, max_bytes=2_000, max_files=50, compress=True, packing=lambda log: 0)
    log.open(None)
    lines = b"".join(b"line %d\n" % n for n in range(1_000))
    write(log, lines)
    kept = (tmp_path / "c-json.log.1").read_bytes()
    if step == "half":
        (tmp_path / ".c-json.log.3.gz.tmp").write_bytes(b"\x1f\x8bhalf")
    else:
        log._pack_if_due()
        assert log.pack_one(lambda: None)
        (tmp_path / "c-json.log.1").write_bytes(kept)
    heir = make_log(tmp_path, max_bytes=2_000, max_files=50, compress=True)
    heir.open(log.position())
    write(heir, b"end\n")
    heir.close()
    assert await read(heir, raw()) == lines + b"end\n"
    assert not hidden(tmp_path)
    names = [path.name for path in tmp_path.glob("c-json.log.*")]
    assert names
    assert all(name.endswith(".gz") for name in names), "what a kill left is compressed later"


async def test_the_packer_works_aside_and_takes_turns(tmp_path: Path) -> None:
    """Logs are handed over from any thread; each gets its turn; a stop leaves nothing half done."""
    packer = Packer()
    logs: list[FileLog] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        log = make_json_log(
            tmp_path / name, max_bytes=2_000, max_files=50, compress=True, packing=packer.add
        )
        log.open(None)
        await trio.to_thread.run_sync(write, log, b"x\n" * 1_000)
        logs.append(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(packer.run)
        for log in logs:
            for _ in range(2):  # the first may rotate; what it rotated is due with the next
                await trio.to_thread.run_sync(log.write, Stream.STDOUT, b"more\n")
        with trio.fail_after(100):
            while any(list(log.files.path.parent.glob("c-json.log.*[0-9]")) for log in logs):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    for log in logs:
        log.close()
        assert not hidden(log.files.path.parent)
