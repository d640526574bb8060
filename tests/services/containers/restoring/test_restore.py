"""How a restoration ends; what it makes of what it finds: `tests/engine/test_found_at_start`."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from services.containers.model import State
from services.containers.restoring.restore import end_when_restored
from services.errors import DeadlineExceeded
from supervisor.otp import StopRequest
from tests.services.containers.support import container


async def test_asked_to_stop_it_ends_when_all_are_adopted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Not before it is asked, and not before the last one: else that one would run on."""
    found = [container(State.RUNNING) for _ in range(2)]
    request, ended = StopRequest(), trio.Event()
    for one in found:
        one.expect_restoration()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_restored, request, found, ended.set)
        found[1].end_restoration()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        request._set()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        found[0].end_restoration()
    assert ended.is_set()


async def test_one_that_is_never_adopted_is_told_of(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its child's own time to end is shorter than that."""
    found = container(State.RUNNING)
    request = StopRequest()
    request._set()
    found.expect_restoration()
    with pytest.raises(DeadlineExceeded):
        await end_when_restored(request, [found], lambda: None)
