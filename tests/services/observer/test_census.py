"""services.observer.census: what each task waits for, whose it is, and how long at least."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from services.observer.census import LOOK_S, WaitClock, take_census
from tests.services.observer.support import SmallTree


async def wait_for_nobody(event: trio.Event) -> None:
    await event.wait()


async def test_a_task_with_its_place() -> None:
    """The function of trio's that it called, the line of ours that did, and the stack."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_nobody, trio.Event(), name="patient")
        await wait_all_tasks_blocked()
        census = await take_census(WaitClock(), taken_ns=7)
        nursery.cancel_scope.cancel()
    (task,) = [task for task in census.tasks if task.name == "patient"]
    assert task.waits_for == "Event.wait"
    assert task.at.startswith("tests/services/observer/test_census.py:")
    assert task.at.endswith("in wait_for_nobody")
    assert task.stack[0].startswith("trio/")
    assert task.stack[-1] == task.at
    assert (census.taken_ns, census.total, census.left_out) == (7, len(census.tasks), 0)
    assert census.waits["Event.wait"] >= 1


async def test_tasks_belong_to_parts() -> None:
    """Each to the innermost; those of one part can be asked for."""
    tree = SmallTree()
    async with tree.run():
        await wait_all_tasks_blocked()
        census = await take_census(WaitClock(), taken_ns=0, part="root/engine")
    paths = {task.part for task in census.tasks}
    assert "root/engine/images" in paths
    assert all(path == "root/engine" or path.startswith("root/engine/") for path in paths)


async def test_how_long_it_has_waited(autojump_clock: MockClock) -> None:
    """Since the first look that saw it there; one that has run in between begins anew.

    This goes by a counter of trio's that is not promised: should it go, this test fails.
    """
    clock, event = WaitClock(), trio.Event()

    async def waits(name: str) -> float:
        census = await take_census(clock, taken_ns=0)
        return next(task.waited_s for task in census.tasks if task.name == name)

    async def busy() -> None:
        while True:
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_nobody, event, name="patient")
        nursery.start_soon(busy, name="busy")
        await wait_all_tasks_blocked()
        await nursery.start(clock.run)
        await trio.sleep(10 * LOOK_S)
        assert await waits("patient") == 10 * LOOK_S
        assert await waits("busy") <= 0.5
        nursery.cancel_scope.cancel()
