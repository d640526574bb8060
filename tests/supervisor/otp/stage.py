"""Children that do as they are told, and a log of what they did, for every test of a supervisor."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.otp import ChildSpec, DynamicSupervisor, Shutdown, Supervisor


class Boom(Exception):
    """The crash of a child that was told to crash."""


class Stage:
    """Makes child specs and directs the children.

    The log has "+a" when child a became ready, "-a" when it was cancelled, "xa" when it ended by
    itself, "!a" when it failed to start, "?a" when it ignored. `plans[id]` says how the next starts
    go, one word each: "ok" (also when the plan is empty), "fail", "ignore", or "kill:b", which is
    ok but crashes b, and waits until it has ended, before being ready.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.plans: defaultdict[str, deque[str]] = defaultdict(deque)
        self.started_at: dict[str, float] = {}
        self._orders: dict[str, trio.MemorySendChannel[str]] = {}
        self._gone: dict[str, trio.Event] = {}

    def spec(self, child_id: str, **fields: Any) -> ChildSpec:
        """A child of that id that waits for orders."""

        async def start(task_status: trio.TaskStatus[str]) -> None:
            await self._act(child_id, task_status)

        return ChildSpec(id=child_id, start=start, **fields)

    def order(self, child_id: str, what: str) -> None:
        """Tell a running child how to end: "crash", "normal" or "shutdown"."""
        self._orders[child_id].send_nowait(what)

    async def tell(self, child_id: str, what: str) -> None:
        """The same, and wait until everything has come to rest."""
        self.order(child_id, what)
        await wait_all_tasks_blocked()

    def is_there(self, child_id: str) -> bool:
        """Whether that child runs."""
        return child_id in self._orders

    def take_log(self) -> list[str]:
        """The log since the last time."""
        log, self.log = self.log, []
        return log

    async def _act(self, child_id: str, task_status: trio.TaskStatus[str]) -> None:
        plan = self.plans[child_id]
        what = plan.popleft() if plan else "ok"
        if what == "fail":
            self.log.append(f"!{child_id}")
            raise Boom(child_id)
        if what == "ignore":
            self.log.append(f"?{child_id}")
            return
        if what.startswith("kill:"):
            await self._kill(what.removeprefix("kill:"))
        send, receive = trio.open_memory_channel[str](1)
        gone = trio.Event()
        self._orders[child_id], self._gone[child_id] = send, gone
        self.log.append(f"+{child_id}")
        self.started_at[child_id] = trio.current_time()
        task_status.started(child_id)
        try:
            await self._live(child_id, receive)
        finally:
            del self._orders[child_id], self._gone[child_id]
            gone.set()

    async def _live(self, child_id: str, orders: trio.MemoryReceiveChannel[str]) -> None:
        try:
            order = await orders.receive()
        except trio.Cancelled:
            self.log.append(f"-{child_id}")
            raise
        self.log.append(f"x{child_id}")
        if order == "crash":
            raise Boom(child_id)
        if order == "shutdown":
            raise Shutdown(child_id)

    async def _kill(self, child_id: str) -> None:
        if child_id in self._orders:
            gone = self._gone[child_id]
            self.order(child_id, "crash")
            await gone.wait()
            await trio.lowlevel.checkpoint()


class Running:
    """A supervisor that runs in a test."""

    def __init__(self) -> None:
        self.error: Exception | None = None  # what run() raised
        self.has_ended = False
        self.scope = trio.CancelScope()  # around it, for cancelling it from outside


@asynccontextmanager
async def running(supervisor: Supervisor | DynamicSupervisor) -> AsyncIterator[Running]:
    """Run `supervisor` inside the block, from when it is ready; stop it at the end of the block.

    An error before it is ready is raised here; one after that is in `Running.error`.
    """
    run = Running()

    async def go(task_status: trio.TaskStatus[object]) -> None:
        is_ready = False

        class Status:
            def started(self, value: object = None) -> None:
                nonlocal is_ready
                is_ready = True
                task_status.started(value)

        try:
            with run.scope:
                await supervisor.run(task_status=Status())
        except Exception as error:
            run.error = error
        run.has_ended = True
        if not is_ready:
            task_status.started(None)

    async with trio.open_nursery() as nursery:
        if await nursery.start(go) is supervisor:
            try:
                yield run
            finally:
                with trio.CancelScope(shield=True):
                    supervisor.stop()
                    await wait_all_tasks_blocked()
                    run.scope.cancel()
            return
    assert run.error is not None
    raise run.error
