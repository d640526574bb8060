"""Children in an order: started in it, stopped against it, restarted by one of OTP's strategies."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import trio

from supervisor.otp._base import SupervisorBase
from supervisor.otp.child import NEVER, Child, Exit
from supervisor.otp.errors import Shutdown, StartFailed, TooManyRestarts
from supervisor.otp.exits import is_shutdown
from supervisor.otp.intensity import Intensity
from supervisor.otp.report import ReportKind
from supervisor.otp.spec import AutoShutdown, ChildSpec, Restart, Strategy, check_childspecs
from supervisor.otp.state import State
from supervisor.otp.strategy import ExitKind, is_restarted, is_shutdown_due, restarted_with


class OrderedSupervisor(SupervisorBase):
    """What `Supervisor` does without being called: starts, ends, restarts, the queue."""

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        name: str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,  # None: OTP's default, 1 restart in 5 s
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        super().__init__(name=name, intensity=intensity or Intensity())
        self._specs: Final = tuple(children)
        check_childspecs(self._specs, auto_shutdown)
        self.strategy: Final = strategy
        self.auto_shutdown: Final = auto_shutdown
        # Requests to self, done one at a time. Among them the retry of a failed restart: what came
        # meanwhile, a stop or a call, goes first.
        self._queue: deque[Callable[[], Awaitable[None]]] = deque()
        self._retry_at: dict[Child, float] = {}  # children in back-off

    # --- the queue

    def _enqueue(self, request: Callable[[], Awaitable[None]]) -> None:
        self._queue.append(request)
        self._wake()

    def _drop_queue(self) -> None:
        """Nobody will see to what is in it."""
        self._queue.clear()

    async def _serve(self) -> None:
        while not self._is_stopping:
            if self._queue:
                await self._queue.popleft()()
            else:
                await self._park()

    # --- starting and stopping one child

    async def _start(self, child: Child) -> Exit | None:
        """Start it and wait until it is ready (None) or has ended before that (how)."""
        self._spawn(child)
        while child.is_live and child.state is not State.RUNNING:
            await self._park()
            if self._is_stopping and child.state is State.STARTING:
                self._ask(child)
        if child.state is State.RUNNING:
            return None  # if it has ended since, that is in the queue
        ended, child.exit = child.exit, None
        assert ended is not None
        self._set_stopped(child)
        return ended

    async def _stop(self, child: Child, *, brutal: bool = False) -> None:
        """End it, wait until it has, and report it if it did so badly."""
        if child.is_live:
            self._ask(child, brutal=brutal)
            while child.is_live:
                await self._park()
        # It may have ended by itself before it was asked: then the end is queued, and is void now.
        ended, child.exit = child.exit, None
        if ended is not None and ended.error is not None and not is_shutdown(ended.error):
            self._report(ReportKind.SHUTDOWN_ERROR, child, ended.error)
        self._set_stopped(child)

    def _set_stopped(self, child: Child) -> None:
        """It has no task now: keep its spec, unless it is temporary."""
        child.state = State.STOPPED
        child.since = trio.current_time()
        self._retry_at.pop(child, None)
        if child.spec.restart is Restart.TEMPORARY:
            self._children.pop(child.id, None)

    async def _stop_all(self, *, brutal: bool) -> None:
        self._drop_queue()
        for child in reversed(tuple(self._children.values())):
            await self._stop(child, brutal=brutal)

    # --- ends and restarts

    def _reset(self) -> None:
        self._queue.clear()
        self._retry_at.clear()
        self._children = {spec.id: Child(spec, self) for spec in self._specs}

    async def _start_first(self) -> None:
        for child in tuple(self._children.values()):
            if self._is_stopping:
                return
            ended = await self._start(child)
            if ended is not None and ended.kind is not ExitKind.IGNORE and not self._is_stopping:
                self._report(ReportKind.START_ERROR, child, ended.error)
                raise StartFailed(self.path, child.id, "failed to start") from ended.error

    def _on_exit(self, child: Child) -> None:
        self._enqueue(partial(self._deal_with, child))

    async def _deal_with(self, child: Child) -> None:
        """A child has ended by itself."""
        ended, child.exit = child.exit, None
        if ended is None:
            return  # whoever stopped or started it has dealt with it
        is_crash = ended.kind is ExitKind.CRASH
        if is_crash:
            child.note_crash(ended.error)
        if is_crash or child.spec.restart is Restart.PERMANENT:
            self._report(ReportKind.CHILD_TERMINATED, child, ended.error)
        uptime_s = trio.current_time() - child.since
        if is_restarted(child.spec.restart, ended.kind):
            await self._restart(child, ended.error, uptime_s)
            return
        self._set_stopped(child)
        others = (c.spec.significant for c in self._children.values() if not c.is_stopped)
        if is_shutdown_due(self.auto_shutdown, significant=child.spec.significant, others=others):
            raise Shutdown("auto_shutdown")

    async def _restart(
        self, child: Child, error: BaseException | None, uptime_s: float = 0.0
    ) -> None:
        """Count one restart more, then restart the child, after its back-off if it has one."""
        self._set_stopped(child)
        if not self._log.add(trio.current_time()):
            self._report(ReportKind.SHUTDOWN, child, error)
            raise TooManyRestarts(self.path, child.id) from error
        child.restarts += 1
        child.state = State.RESTARTING
        delay_s = child.backoff_s(uptime_s)
        if delay_s == 0:
            await self._restart_group(child)
            return
        await self._stop_siblings(child)
        self._retry_at[child] = trio.current_time() + delay_s

    async def _restart_group(self, child: Child) -> None:
        """Stop those that go with the child in reverse, then start all of them in order."""
        await self._stop_siblings(child)
        self._set_stopped(child)
        for one in self._group(child):
            ended = await self._start(one)
            if self._is_stopping:
                return
            if ended is not None and ended.kind is not ExitKind.IGNORE:
                one.state = State.RESTARTING
                one.note_crash(ended.error)
                self._report(ReportKind.START_ERROR, one, ended.error)
                self._enqueue(partial(self._retry, one, ended.error))
                return

    async def _stop_siblings(self, child: Child) -> None:
        for one in reversed(self._group(child)):
            if one is not child:
                await self._stop(one)

    async def _retry(self, child: Child, error: BaseException | None) -> None:
        if child.state is State.RESTARTING:
            await self._restart(child, error)

    async def _retry_due(self, child: Child) -> None:
        if child.state is State.RESTARTING:
            await self._restart_group(child)

    def _group(self, child: Child) -> Sequence[Child]:
        ids = tuple(self._children)
        return [self._children[i] for i in restarted_with(self.strategy, ids, child.id)]

    def _next_due(self) -> float:
        return min(super()._next_due(), min(self._retry_at.values(), default=NEVER))

    def _fire_due(self, now: float) -> None:
        super()._fire_due(now)
        for child, due in tuple(self._retry_at.items()):
            if due <= now:
                del self._retry_at[child]
                self._enqueue(partial(self._retry_due, child))
