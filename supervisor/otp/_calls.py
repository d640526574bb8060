"""Management calls on their way from the task that makes one to the supervisor's own task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import outcome
import trio

from supervisor.otp.child import Child


class Call:
    """One call: what to do for it, and whether anybody still waits for the answer."""

    __slots__ = ("_caller", "child", "is_given_up", "work")

    def __init__(self, work: Callable[[Call], Awaitable[object]]) -> None:
        self.work = work
        self.child: Child | None = None  # the one that is being started for this call
        self.is_given_up = False  # the caller was cancelled before it had an answer
        self._caller: trio.lowlevel.Task | None = None

    async def wait(self, on_given_up: Callable[[Call], None]) -> object:
        """Block until answered: return the value or raise the error."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._caller, self.is_given_up = None, True
            on_given_up(self)
            return trio.lowlevel.Abort.SUCCEEDED

        self._caller = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(abort)

    def answer(self, result: outcome.Outcome[object]) -> None:
        """Wake the caller, unless it has an answer already or has gone."""
        if self._caller is not None:
            trio.lowlevel.reschedule(self._caller, result)
            self._caller = None
