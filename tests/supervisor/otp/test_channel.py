"""Latch and Outcome: set once, for everybody who waits."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.otp import Latch, Outcome


async def test_latch_wakes_all_and_stays_set() -> None:
    """Those who wait wake, those who come later do not wait, setting again is no error."""
    latch = Latch()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await latch.wait()
        woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert (woken, latch.is_set()) == (0, False)
        latch.set()
        latch.set()
    await wait()
    assert (woken, latch.is_set()) == (3, True)


async def test_outcome_value() -> None:
    """The first value counts, and every waiter gets it."""
    answer = Outcome[int]()
    assert not answer.is_set()
    assert answer.set(1)
    assert not answer.set(2)
    assert not answer.set_error(ValueError())
    assert [await answer.wait(), await answer.wait()] == [1, 1]


async def test_outcome_error() -> None:
    """The first error counts, and every waiter raises it."""
    answer = Outcome[None]()
    assert answer.set_error(ValueError("first"))
    assert not answer.set(None)
    for _ in range(2):
        with pytest.raises(ValueError, match="first"):
            await answer.wait()


async def test_outcome_none_is_a_value() -> None:
    """None, too, is an answer."""
    answer = Outcome[None]()
    answer.set(None)
    assert answer.is_set()
    await answer.wait()
