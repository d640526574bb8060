"""The static supervisor: ordered children under one of OTP's strategies, one step at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import outcome
import trio

from supervisor.otp._base import SupervisorBase, is_shutdown
from supervisor.otp._calls import Call
from supervisor.otp.child import NEVER, Child, Exit, State, current_child
from supervisor.otp.errors import (
    AlreadyPresent,
    AlreadyStarted,
    NotFound,
    NotRunning,
    Restarting,
    Running,
    Shutdown,
    StartFailed,
    TooManyRestarts,
    WouldDeadlock,
)
from supervisor.otp.info import ChildCounts, ChildInfo, count, info
from supervisor.otp.intensity import Intensity
from supervisor.otp.report import ReportKind
from supervisor.otp.spec import AutoShutdown, ChildSpec, Restart, Strategy, check_childspecs
from supervisor.otp.strategy import ExitKind, is_restarted, is_shutdown_due, restarted_with
from supervisor.otp.tree import Node


class Supervisor(SupervisorBase):
    """Starts `children` in order, each once the one before is ready; stops them in reverse.

    One task, that of `run`, does everything, one request after the other, as in OTP:
    ends of children, management calls and retries of failed restarts queue up for it. So a child
    that takes long to start or to stop holds up its siblings' restarts, but never a stop of the
    supervisor itself: that calls off a start in progress. Back-off holds up nothing.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        name: str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
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
        self._calls: set[Call] = set()  # those without an answer
        self._call: Call | None = None  # the one in progress
        self._retry_at: dict[Child, float] = {}  # children in back-off

    # --- management calls

    async def start_child(self, spec: ChildSpec) -> object:
        """Add a child after the others and start it; the value that it passed to `started()`.

        None if it ended before it was ready without an error (OTP's `ignore`): its spec is then
        kept, unless it is temporary. Cancelling this call while the child starts calls the start
        off and forgets the spec.

        Raises:
            AlreadyStarted, AlreadyPresent: a child of that id exists.
            BadSpec: the spec does not go with this supervisor's `auto_shutdown`.
            NotRunning: the supervisor does not run, or stops before the child is ready.
            Exception: whatever the child raised before it was ready; the spec is forgotten.
        """
        check_childspecs((spec,), self.auto_shutdown)
        return await self._ask_self(lambda call: self._do_start_child(spec, call))

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child, or end its restarting; its spec is kept unless it is temporary.

        Once begun it is carried through even if the caller is cancelled.

        Raises:
            NotFound, NotRunning.
        """
        await self._ask_self(lambda _: self._do_terminate(child_id))

    async def restart_child(self, child_id: str) -> object:
        """Start a stopped child again; the value that it passed to `started()`.

        Is not counted as a restart. None if it returned before it was ready (`ignore`). If it fails
        or this call is cancelled, the child stays stopped.

        Raises:
            NotFound, Running, Restarting, NotRunning.
            Exception: whatever the child raised before it was ready.
        """
        return await self._ask_self(lambda call: self._do_restart_child(child_id, call))

    async def delete_child(self, child_id: str) -> None:
        """Forget the spec of a stopped child.

        Raises:
            NotFound, Running, Restarting, NotRunning.
        """
        await self._ask_self(lambda _: self._do_delete(child_id))

    def get_childspec(self, child_id: str) -> ChildSpec:
        """The spec of a child.

        Raises:
            NotFound: there is none.
        """
        return self._require(child_id).spec

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Every child whose spec is kept, in start order, as it is at this moment."""
        return tuple(info(child) for child in self._children.values())

    def count_children(self) -> ChildCounts:
        """How many there are, and of what sort."""
        return count(self._children.values())

    def tree(self) -> Node:
        """This supervisor and all below it, as they are at this moment."""
        return self._node(self.strategy)

    # --- the queue

    async def _ask_self(self, work: Callable[[Call], Awaitable[object]]) -> object:
        self._require_running()
        self._refuse_deadlock()
        call = Call(work)
        self._calls.add(call)
        self._queue.append(partial(self._carry_out, call))
        self._wake()
        return await call.wait(self._on_given_up)

    def _on_given_up(self, call: Call) -> None:
        self._calls.discard(call)
        self._wake()  # it may be the one in progress

    def _refuse_deadlock(self) -> None:
        """A call from a child that we wait for to become ready would wait for us in turn."""
        child = current_child.get()
        while child is not None:
            if child.owner is self and child.state is State.STARTING:
                raise WouldDeadlock(
                    self.path, child.id, "called its supervisor before it was ready"
                )
            child = child.owner.parent

    async def _serve(self) -> None:
        while not self._is_stopping:
            if self._queue:
                await self._queue.popleft()()
            else:
                await self._park()

    async def _carry_out(self, call: Call) -> None:
        if call.is_given_up:
            return
        self._call = call
        try:
            result: outcome.Outcome[object] = outcome.Value(await call.work(call))
        except Exception as error:  # the caller's to handle: a refusal, or a child's error
            result = outcome.Error(error)
        finally:
            self._call = None
        self._answer(call, result)

    def _answer(self, call: Call, result: outcome.Outcome[object]) -> None:
        self._calls.discard(call)
        call.answer(result)

    # --- what the calls do, in the supervisor's task

    async def _do_start_child(self, spec: ChildSpec, call: Call) -> object:
        present = self._children.get(spec.id)
        if present is not None:
            refusal = AlreadyPresent if present.is_idle else AlreadyStarted
            raise refusal(self.path, spec.id, f"is {present.state.value}")
        child = Child(spec, self)
        self._children[spec.id] = child
        try:
            await self._start_for(call, child)
        except Exception:
            self._children.pop(spec.id, None)
            raise
        return None

    async def _do_restart_child(self, child_id: str, call: Call) -> None:
        await self._start_for(call, self._require_idle(child_id))

    async def _start_for(self, call: Call, child: Child) -> None:
        """Start `child` for a caller, who has its answer at the moment when the child is ready."""
        call.child = child
        ended = await self._start(child)
        if ended is None or ended.kind is ExitKind.IGNORE:
            return
        if self._is_stopping or call.is_given_up:
            raise NotRunning(self.path, child.id, "was stopped before it was ready")
        assert ended.error is not None
        raise ended.error

    async def _do_terminate(self, child_id: str) -> None:
        await self._stop(self._require(child_id))

    async def _do_delete(self, child_id: str) -> None:
        del self._children[self._require_idle(child_id).id]

    def _require(self, child_id: str) -> Child:
        try:
            return self._children[child_id]
        except KeyError:
            raise NotFound(self.path, child_id, "does not exist") from None

    def _require_idle(self, child_id: str) -> Child:
        child = self._require(child_id)
        if child.state is State.RESTARTING:
            raise Restarting(self.path, child_id, "is restarting")
        if child.state is not State.STOPPED:
            raise Running(self.path, child_id, f"is {child.state.value}")
        return child

    # --- starting and stopping one child

    async def _start(self, child: Child) -> Exit | None:
        """Start it and wait until it is ready (None) or has ended before that (how)."""
        self._spawn(child)
        while child.is_live and child.state is not State.RUNNING:
            await self._park()
            is_off = self._is_stopping or (self._call is not None and self._call.is_given_up)
            if is_off and child.state is State.STARTING:
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
        for call in tuple(self._calls):
            self._answer(call, outcome.Error(NotRunning(self.path, "", "it is stopping")))
        self._queue.clear()
        for child in reversed(tuple(self._children.values())):
            await self._stop(child, brutal=brutal)

    # --- ends and restarts

    def _reset(self) -> None:
        self._queue.clear()
        self._retry_at.clear()
        self._children = {spec.id: Child(spec, self) for spec in self._specs}

    async def _start_first(self) -> None:
        for child in tuple(self._children.values()):
            ended = await self._start(child)
            if self._is_stopping:
                return
            if ended is not None and ended.kind is not ExitKind.IGNORE:
                self._report(ReportKind.START_ERROR, child, ended.error)
                raise StartFailed(self.path, child.id, "failed to start") from ended.error

    def _deliver(self, child: Child, value: object) -> None:
        # At once, not when our task gets to run: a caller cancelled in between would not know that
        # the child it asked for is there.
        if self._call is not None and self._call.child is child:
            self._answer(self._call, outcome.Value(value))
        self._wake()

    def _on_exit(self, child: Child) -> None:
        self._queue.append(partial(self._deal_with, child))
        self._wake()

    async def _deal_with(self, child: Child) -> None:
        """A child has ended by itself."""
        ended, child.exit = child.exit, None
        if ended is None:
            return  # whoever stopped or started it has dealt with it
        is_crash = ended.kind is ExitKind.CRASH
        if is_crash:
            child.last_crash = ended.error
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
                self._report(ReportKind.START_ERROR, one, ended.error)
                self._queue.append(partial(self._retry, one, ended.error))
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
                self._queue.append(partial(self._retry_due, child))
