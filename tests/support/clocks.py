"""A clock and a look that do not pass over what threads are doing for tasks."""

from __future__ import annotations

import time
from typing import Final

import trio
import trio.testing

LOOK_AGAIN_S: Final = 0.0005
"""How long the loop stands still while a thread works: it has nothing else to do."""


def jumping_clock() -> trio.testing.MockClock:
    """trio's clock that jumps to the next deadline once every task waits, but not for a thread.

    By itself it jumps then too: on a loaded machine limits pass while a file is being read. It
    knows of the threads of `trio.to_thread` only.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump = clock._autojump

    def jump_or_wait() -> None:
        if trio.testing.active_thread_count():
            time.sleep(LOOK_AGAIN_S)
        else:
            jump()

    clock._autojump = jump_or_wait  # type: ignore[method-assign]
    return clock


async def wait_settled() -> None:
    """Until every task waits, and none of them for a thread.

    `wait_all_tasks_blocked` by itself is content when a thread takes longer than its cushion.
    """
    await trio.testing.wait_all_tasks_blocked()
    while trio.testing.active_thread_count():
        await trio.testing.wait_all_threads_completed()
        await trio.testing.wait_all_tasks_blocked()
