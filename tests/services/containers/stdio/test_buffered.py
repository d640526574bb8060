"""A log in non-blocking mode: the process goes on, and what is dropped is counted and told."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import trio

from services.containers.logs import FileLog, FileOptions, JsonLines, LogCounts, LogReader
from services.containers.stdio import LogBuffer, Stdio, Stream
from tests.services.containers.logs.lines import all_entries, raw
from tests.services.containers.stdio.shim import make_stdio, running

BUFFER_BYTES = 256 * 1024
LINE = b"%06d " + b"x" * 92 + b"\n"
NOTE = re.compile(r"\[(\d+) lines, (\d+) bytes of output were dropped here\]\n")


class StuckLog(FileLog):
    """Its disk answers only when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FileOptions(max_bytes=None, max_files=1), JsonLines())
        self.let = threading.Event()

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        assert self.let.wait(60)
        return super().write(stream, data, last=last)


def stdio_of(tmp_path: Path, log: FileLog, counts: LogCounts) -> Stdio:
    buffer = LogBuffer(size_bytes=BUFFER_BYTES, counts=counts)
    return make_stdio(tmp_path, log=log, buffer=buffer)


async def test_all_is_logged_while_the_log_keeps_up(tmp_path: Path) -> None:
    """As in blocking mode; nothing is dropped, and followers and the attached see it."""
    log, counts = StuckLog(tmp_path / "log"), LogCounts()
    log.let.set()
    lines = [b"line %d\n" % n for n in range(2_000)]
    got = b""
    async with running(stdio_of(tmp_path, log, counts)) as shim:
        reader = LogReader(files=log.files, feed=log.feed, format=log.format)
        async with reader.read(raw(follow=True)) as blocks:
            await shim.write(Stream.STDOUT, b"".join(lines))
            with trio.fail_after(30):
                while not got.endswith(lines[-1]):
                    got += await anext(blocks)
        await shim.write(Stream.STDOUT, b"unfinished")
    assert got == b"".join(lines)
    texts = [entry["log"].encode() for entry in all_entries(log.files)]
    assert texts == [*lines, b"unfinished"]
    assert counts.dropped_bytes == 0


async def test_a_stuck_log_does_not_hold_up_the_process(tmp_path: Path) -> None:
    """It writes ten times the buffer; the log has the first lines, a note of the rest, the last."""
    log, counts = StuckLog(tmp_path / "log"), LogCounts()
    total = 26_000
    stdio = stdio_of(tmp_path, log, counts)
    seen = b""
    async with running(stdio) as shim:
        async with stdio.attach(stdout=True, stderr=False, stdin=False) as attached:
            with trio.fail_after(30):
                for first in range(0, total, 100):
                    await shim.write(
                        Stream.STDOUT, b"".join(LINE % n for n in range(first, first + 100))
                    )
                    while len(seen) < (first + 100) * 100:
                        seen += (await attached.receive())[1]
        assert counts.dropped_bytes > 0
        log.let.set()
        with trio.fail_after(30):
            while log.feed.extent is None or log.feed.extent.size_bytes < BUFFER_BYTES:
                await trio.sleep(0.01)
        await shim.write(Stream.STDOUT, b"in time\n")
    assert seen == b"".join(LINE % n for n in range(total))
    texts = [entry["log"] for entry in all_entries(log.files)]
    (note,) = [found for text in texts if (found := NOTE.fullmatch(text))]
    lines, size = map(int, note.groups())
    assert (lines, size) == (counts.dropped_lines, counts.dropped_bytes)
    assert size == lines * 100 == (total - len(texts) + 2) * 100
    kept = [int(text[:6]) for text in texts[: texts.index(note.string)]]
    assert kept == list(range(total - lines))
    assert texts[-1] == "in time\n"


async def test_what_waits_outlives_a_kill(tmp_path: Path) -> None:
    """The next daemon logs what the last one had gathered: each line once."""
    counts = LogCounts()
    first = StuckLog(tmp_path / "log")
    stdio = stdio_of(tmp_path, first, counts)
    await stdio.prepare()
    spool = stdio._spool
    assert spool is not None
    with (tmp_path / "io" / "stdout").open("wb", buffering=0) as writer:
        writer.write(b"one\ntwo\nthr")
        spool.gather(Stream.STDOUT, stdio._sources[0].fd)  # type: ignore[attr-defined]
        first.let.set()
        spool.log_some()  # type: ignore[attr-defined]
        writer.write(b"ee\n")
        spool.gather(Stream.STDOUT, stdio._sources[0].fd)  # type: ignore[attr-defined]
    stdio.release()
    heir = StuckLog(tmp_path / "log")
    heir.let.set()
    async with running(stdio_of(tmp_path, heir, counts)) as shim:
        await shim.write(Stream.STDOUT, b"four\n")
    texts = [entry["log"] for entry in all_entries(heir.files)]
    assert texts == ["one\n", "two\n", "three\n", "four\n"]
