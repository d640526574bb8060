"""tests.support.clocks: what threads do for tasks is seen."""

from __future__ import annotations

import time

import trio
import trio.testing

from tests.support.clocks import wait_settled


async def test_the_clock_does_not_jump_over_a_threads_work(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A limit passes while tasks wait for one another, and not while one waits for a thread."""
    with trio.fail_after(1):
        await trio.to_thread.run_sync(time.sleep, 0.05)
    assert trio.current_time() == 0
    with trio.move_on_after(1):
        await trio.sleep_forever()
    assert trio.current_time() == 1


async def test_nothing_is_under_way_once_it_has_settled() -> None:
    """Neither a thread that somebody waits for, nor what comes after it."""
    done: list[str] = []

    async def work() -> None:
        for word in ("one", "two"):
            await trio.to_thread.run_sync(time.sleep, 0.05)
            done.append(word)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await wait_settled()
        assert done == ["one", "two"]
        nursery.cancel_scope.cancel()
