"""A context that comes beside its build."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from services.buildkit.uploads import MEETING_LIMIT_S, Uploads
from services.errors import Conflict, DeadlineExceeded


async def body() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


async def test_whichever_call_comes_first_waits_for_the_other() -> None:
    """The one that sends ends when the build has read."""
    uploads = Uploads()
    read: list[bytes] = []

    async def build(name: str) -> None:
        async with uploads.taken(name) as found:
            read.extend([piece async for piece in found])

    for first in ("build", "body"):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                if first == "build":
                    nursery.start_soon(build, first)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(uploads.offer, first, body())
                else:
                    nursery.start_soon(uploads.offer, first, body())
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(build, first)
    assert read == [b"a", b"b"] * 2


async def test_a_build_that_fails_before_it_reads_lets_the_sender_go() -> None:
    """It would wait for as long as its client does."""
    uploads = Uploads()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uploads.offer, "x", body())
            with pytest.raises(RuntimeError):
                async with uploads.taken("x"):
                    raise RuntimeError


async def test_nobody_waits_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """Neither for a build nor for a body; and a build has one."""
    uploads = Uploads()
    with pytest.raises(DeadlineExceeded):
        await uploads.offer("x", body())
    with pytest.raises(DeadlineExceeded):
        async with uploads.taken("x"):
            pass
    assert trio.current_time() >= 2 * MEETING_LIMIT_S
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uploads.offer, "x", body())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Conflict):
            await uploads.offer("x", body())
        async with uploads.taken("x"):
            pass
