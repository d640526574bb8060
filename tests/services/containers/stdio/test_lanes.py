"""Quiet processes do not wait behind talkative ones for a thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from services.containers.logs import FileLog, FileOptions, JsonLines
from services.containers.logs.encode import PIECE_BYTES
from services.containers.stdio import Lanes, Stream
from services.containers.stdio.spool import BLOCK_BYTES
from services.containers.stdio.stdio import gathers
from tests.services.containers.stdio.shim import make_stdio, running

TALKATIVE = 30
TALK = (b"x" * 99 + b"\n") * 5_000


def test_a_full_fifo_and_a_quiet_one_use_different_limits() -> None:
    """What the FIFO holds decides, each time anew."""
    lanes = Lanes()
    reader, writer = os.pipe()
    try:
        assert lanes.for_fifo(reader) is lanes.quiet
        os.write(writer, b"a line\n")
        assert lanes.for_fifo(reader) is lanes.quiet
        os.write(writer, bytes(60_000))
        assert lanes.for_fifo(reader) is not lanes.quiet
        os.read(reader, 100_000)
        assert lanes.for_fifo(reader) is lanes.quiet
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_lane_is_crowded_while_somebody_waits_in_it() -> None:
    """Not by those who are served; and what waits for bulk is no matter."""
    lanes = Lanes(bulk=1, quiet=1)

    async def wait_for(lane: trio.CapacityLimiter) -> None:
        async with lane:
            pass

    async with trio.open_nursery() as nursery, lanes.bulk, lanes.quiet:
        nursery.start_soon(wait_for, lanes.bulk)
        await trio.testing.wait_all_tasks_blocked()
        seen = [lanes.is_crowded]
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(wait_for, lanes.quiet)
                await trio.testing.wait_all_tasks_blocked()
                seen.append(lanes.is_crowded)
                scope.cancel()
        seen.append(lanes.is_crowded)
        nursery.cancel_scope.cancel()
    assert seen == [False, True, False]


@pytest.mark.parametrize(
    ("taken_bytes", "prompt_steps", "is_crowded", "waits"),
    [
        (4096, 0, False, False),  # an answer to somebody, or the beginning of much
        (4096, 4, False, True),
        (4096, 0, True, True),
        (BLOCK_BYTES, 4, True, False),  # there is more than a little already
    ],
)
def test_who_waits_for_more_to_come(
    taken_bytes: int, prompt_steps: int, is_crowded: bool, waits: bool
) -> None:
    """Who goes on and on, and everybody where others queue."""
    assert gathers(taken_bytes, prompt_steps, is_crowded=is_crowded) is waits


class CountedLog(FileLog):
    """Counts the blocks that all such logs write."""

    def __init__(self, folder: Path, blocks: list[int]) -> None:
        folder.mkdir()
        options = FileOptions(max_bytes=1_000_000, max_files=1)
        super().__init__(folder / "c-json.log", options, JsonLines())
        self._blocks = blocks
        self.before = 0  # how many blocks had been written when this one's last was

    def write(self, stream: Stream, data: bytes, *, last: bool = False) -> int:
        self.before = len(self._blocks)
        self._blocks.append(len(data))
        return super().write(stream, data, last=last)


async def test_a_quiet_line_waits_for_less_than_a_round_of_the_talkative(tmp_path: Path) -> None:
    """Beside those that write all they can, it is logged before each of them had another turn."""
    lanes, blocks = Lanes(), list[int]()
    between: list[int] = []

    async def talk(name: str) -> None:
        stdio = make_stdio(tmp_path / name, log=CountedLog(tmp_path / name, blocks), lanes=lanes)
        async with running(stdio) as shim:
            while True:
                await shim.write(Stream.STDOUT, TALK)

    quiet = CountedLog(tmp_path / "quiet", blocks)
    stdio = make_stdio(tmp_path / "quiet", log=quiet, lanes=lanes)
    async with running(stdio) as shim, trio.open_nursery() as nursery:
        for n in range(TALKATIVE):
            nursery.start_soon(talk, f"talkative{n}")
        with trio.fail_after(240):
            while len(blocks) < 3 * TALKATIVE:
                await trio.sleep(0.01)
            for _ in range(9):
                before, extent = len(blocks), quiet.feed.extent
                assert extent is not None
                await shim.write(Stream.STDOUT, b"a line\n")
                await quiet.feed.wait_beyond(extent)
                # How late this task hears of it is another matter, and the machine's.
                between.append(quiet.before - before)
        nursery.cancel_scope.cancel()
    step = BLOCK_BYTES + PIECE_BYTES  # what came, after the beginning of a line that came before
    assert all(size <= step for size in blocks), "nobody's turn is longer than a step"
    assert sorted(between)[4] <= TALKATIVE
