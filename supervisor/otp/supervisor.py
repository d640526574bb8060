"""The static supervisor: its management calls, and the queue that they wait in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import outcome

from supervisor.otp._calls import Call
from supervisor.otp._ordered import OrderedSupervisor
from supervisor.otp.child import Child
from supervisor.otp.current import current_child
from supervisor.otp.errors import (
    AlreadyPresent,
    AlreadyStarted,
    NotRunning,
    Restarting,
    Running,
    StartFailed,
    WouldDeadlock,
)
from supervisor.otp.node import Node
from supervisor.otp.report import ReportKind
from supervisor.otp.spec import ChildSpec, check_childspecs
from supervisor.otp.state import State
from supervisor.otp.strategy import ExitKind


class Supervisor(OrderedSupervisor):
    """Starts `children` in order, each once the one before is ready; stops them in reverse.

    One task, that of `run`, does everything, one request after the other, as in OTP: ends of
    children, management calls and retries of failed restarts queue up for it. So a child that takes
    long to start or to stop holds up its siblings' restarts, but never a stop of the supervisor
    itself: that calls off a start in progress. Back-off holds up nothing.
    """

    _calls: set[Call]  # those without an answer
    _call: Call | None  # the one in progress

    def _reset(self) -> None:
        super()._reset()
        self._calls = set()
        self._call = None

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

    async def renew_child(self, child_id: str) -> None:
        """End a running child and start it again, with those that a crash of it would restart.

        It gets its time to drain. Is a restart, but not one that the intensity counts. Returns
        when all are ready again. Once begun it is carried through even if the caller is cancelled.

        Raises:
            NotFound: there is no such child.
            NotRunning: it does not run, or the supervisor does not.
            Restarting: it is being restarted already.
            BadSpec: it is temporary: it would not come back.
            StartFailed: it did not start again; it is tried again as after a crash.
        """
        await self._ask_self(lambda _: self._do_renew(child_id))

    def tree(self, depth: int | None = None) -> Node:
        """This supervisor and all below it, as they are at this moment.

        With `depth` only so many levels below it: 0 is the supervisor alone.
        """
        return self._node(self.strategy, depth)

    # --- a call, in the task of its caller

    async def _ask_self(self, work: Callable[[Call], Awaitable[object]]) -> object:
        self._require_running()
        self._refuse_deadlock()
        call = Call(work)
        self._calls.add(call)
        self._enqueue(partial(self._carry_out, call))
        return await call.wait(self._on_given_up)

    def _on_given_up(self, call: Call) -> None:
        self._calls.discard(call)
        child = call.child
        if child is not None and child.state is State.STARTING:
            # Now, not when our task gets to run: the child may become ready in between.
            self._ask(child)

    def _refuse_deadlock(self) -> None:
        """A call from a child that we wait for would wait for us in turn."""
        child = current_child.get()
        while child is not None:
            if child.owner is self and child.state is State.STARTING:
                raise WouldDeadlock(
                    self.path, child.id, "called its supervisor before it was ready"
                )
            child = child.owner.parent

    # --- a call, in the supervisor's task

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

    async def _do_start_child(self, spec: ChildSpec, call: Call) -> None:
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

    async def _do_restart_child(self, child_id: str, call: Call) -> None:
        await self._start_for(call, self._require_idle(child_id))

    async def _start_for(self, call: Call, child: Child) -> None:
        """Start `child` for a caller, who has its answer at the moment when the child is ready."""
        call.child = child
        ended = await self._start(child)
        if ended is None:
            return
        if self._is_stopping or call.is_given_up:
            text = "was stopped before it was ready"
            raise NotRunning(self.path, child.id, text) from ended.error
        if ended.kind is ExitKind.IGNORE:
            return
        assert ended.error is not None
        raise ended.error

    async def _do_renew(self, child_id: str) -> None:
        child = self._require_renewable(child_id)
        self._report(ReportKind.RENEWAL, child)
        for one in reversed(self._group(child)):
            await self._stop(one)
        child.restarts += 1
        await self._restart_group(child)
        if self._is_stopping:
            raise NotRunning(self.path, child_id, "was stopped before it was ready")
        for one in self._group(child):
            if one.state is State.RESTARTING:
                raise StartFailed(self.path, one.id, "failed to start again") from one.last_crash

    async def _do_terminate(self, child_id: str) -> None:
        await self._stop(self._require(child_id))

    async def _do_delete(self, child_id: str) -> None:
        del self._children[self._require_idle(child_id).id]

    def _require_idle(self, child_id: str) -> Child:
        child = self._require(child_id)
        if child.state is State.RESTARTING:
            raise Restarting(self.path, child_id, "is restarting")
        if child.state is not State.STOPPED:
            raise Running(self.path, child_id, f"is {child.state.value}")
        return child

    # --- what the queue's owner asks of us

    def _deliver(self, child: Child, value: object) -> None:
        # At once, not when our task gets to run: a caller cancelled in between would not know that
        # the child it asked for is there.
        if self._call is not None and self._call.child is child:
            self._answer(self._call, outcome.Value(value))
        self._wake()

    def _drop_queue(self) -> None:
        super()._drop_queue()
        for call in tuple(self._calls):
            self._answer(call, outcome.Error(NotRunning(self.path, "", "it is stopping")))
