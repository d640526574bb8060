"""services.containers.runs.slots: in turns, but not behind one that hangs."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from services.containers.runs.slots import Slots
from services.errors import NotFound


@pytest.mark.parametrize("count", [1, 3])
async def test_no_more_than_its_count_in_order(count: int) -> None:
    """The others wait, first come first served."""
    slots, done, inside, order = Slots(count), trio.Event(), 0, list[int]()

    async def work(number: int) -> None:
        nonlocal inside
        async with slots.slot():
            order.append(number)
            inside += 1
            assert inside <= count
            await done.wait()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(work, number)
            await trio.testing.wait_all_tasks_blocked()
        assert order == list(range(count))
        done.set()
    assert len(order) == 10
    if count == 1:
        assert order == list(range(10))


async def test_one_that_hangs_loses_its_slot(autojump_clock: trio.testing.MockClock) -> None:
    """The next goes on after a while, the one that hangs as well; and it gives back only once."""
    slots = Slots(1, slow_s=5.0)
    got_s: list[float] = []

    async def hang() -> None:
        async with slots.slot():
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            async with slots.slot():
                got_s.append(trio.current_time())
    assert got_s == [5.0, 5.0]
    async with slots.slot():
        with trio.move_on_after(1) as scope:
            async with slots.slot():
                raise AssertionError("two in one slot")
        assert scope.cancelled_caught


async def test_errors_and_cancellation_pass(autojump_clock: trio.testing.MockClock) -> None:
    """As they are, and the slot is free again."""
    slots = Slots(1)
    with pytest.raises(NotFound, match="it"):
        async with slots.slot():
            raise NotFound("it")
    with trio.move_on_after(1):
        async with slots.slot():
            await trio.sleep_forever()
    with trio.fail_after(1):
        async with slots.slot():
            pass
