"""Builds by name, and how long they are remembered."""

from __future__ import annotations

import pytest
import trio.testing

from services.buildkit.jobs import APPEAR_LIMIT_S, MAX_ENDED, MAX_ENDED_BYTES, Jobs
from services.errors import Conflict, NotFound

BLOCK = b"x" * (1 << 20)


def run(jobs: Jobs, ref: str, blocks: int = 0) -> None:
    with jobs.opened(ref) as job:
        for number in range(blocks):
            job.board.log(f"step {number}", BLOCK, is_stderr=False)


async def test_a_build_that_has_ended_can_be_watched_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its name is taken as long; then it is as if it had never been."""
    jobs = Jobs()
    run(jobs, "first")
    assert (await jobs.find("first")).ref == "first"
    with pytest.raises(Conflict):
        run(jobs, "first")
    for number in range(MAX_ENDED):
        run(jobs, f"later {number}")
    with pytest.raises(NotFound):
        await jobs.find("first")
    assert autojump_clock.current_time() >= APPEAR_LIMIT_S


async def test_much_output_is_not_kept_for_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Of builds that have printed much only the newest is kept, whatever its size."""
    jobs = Jobs()
    for ref in ("first", "second"):
        run(jobs, ref, blocks=1 + MAX_ENDED_BYTES // len(BLOCK))
    assert (await jobs.find("second")).board.size_bytes > MAX_ENDED_BYTES
    with pytest.raises(NotFound):
        await jobs.find("first")
