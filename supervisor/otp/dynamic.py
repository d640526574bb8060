"""The dynamic supervisor: any number of children that come and go, each for itself."""

from __future__ import annotations

from typing import Final

import outcome
import trio

from supervisor.otp._base import SupervisorBase
from supervisor.otp.channel import Outcome
from supervisor.otp.child import Child, Exit
from supervisor.otp.errors import (
    AlreadyStarted,
    BadSpec,
    MaxChildren,
    NotRunning,
    StartFailed,
    TooManyRestarts,
)
from supervisor.otp.exits import is_shutdown
from supervisor.otp.intensity import Intensity
from supervisor.otp.node import Node
from supervisor.otp.report import ReportKind
from supervisor.otp.spec import ChildSpec, Restart
from supervisor.otp.state import State
from supervisor.otp.strategy import ExitKind, is_restarted


class _Renewal(Exception):
    """Why a child was ended that `renew_child` is to start again; nobody else sees it."""


class DynamicSupervisor(SupervisorBase):
    """Starts with no child; starts, restarts and stops each without regard to the others.

    OTP's simple_one_for_one, with a spec for each child. No child waits for another: calls are
    carried out in the caller's task and ends in the last step of the child's own, so the
    supervisor's task is not woken for either. A child that ended and is not to be restarted is
    forgotten. Stopping the supervisor asks all children at once, in no order.
    """

    def __init__(
        self, *, name: str, intensity: Intensity | None = None, max_children: int | None = None
    ) -> None:
        super().__init__(name=name, intensity=intensity or Intensity())
        if max_children is not None and max_children < 0:
            raise BadSpec(f"max_children must not be negative: {max_children}")
        self.max_children: Final = max_children  # None: no limit
        self._giving_up: TooManyRestarts | None = None

    # --- management calls

    async def start_child(self, spec: ChildSpec) -> object:
        """Start a child; the value that it passed to `started()`.

        None if it returned before it was ready (OTP's `ignore`): it is then forgotten. Cancelling
        this call while the child starts cancels the child.

        Raises:
            AlreadyStarted: there is a child of that id.
            MaxChildren: there are `max_children` children.
            BadSpec: the child is significant, which means nothing here.
            NotRunning: the supervisor does not run, or stops before the child is ready.
            Exception: whatever the child raised before it was ready; the child is forgotten.
        """
        self._check(spec)
        child = Child(spec, self)
        self._children[spec.id] = child
        self._spawn(child)
        child.waiter = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            child.waiter = None
            self._ask(child, brutal=True)
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child and forget it; return when it has ended.

        Once begun it is carried through even if the caller is cancelled.

        Raises:
            NotFound: there is no such child.
        """
        child = self._require(child_id)
        self._ask(child)
        if child.ended is None:
            child.ended = trio.Event()
        await child.ended.wait()

    async def renew_child(self, child_id: str) -> None:
        """End a running child and start it again.

        It gets its time to drain. Is a restart, but not one that the intensity counts. Returns
        when it is ready again. Once begun it is carried through even if the caller is cancelled.

        Raises:
            NotFound: there is no such child.
            NotRunning: it does not run, the supervisor does not, or somebody ended it meanwhile.
            Restarting: it is being restarted already.
            BadSpec: it is temporary: it would not come back.
            StartFailed: it did not start again; it is tried again as after a crash.
        """
        self._require_running()
        child = self._require_renewable(child_id)
        self._report(ReportKind.RENEWAL, child)
        renewed: Outcome[None] = Outcome()
        child.renewed = renewed
        self.end_unhealthy(child, _Renewal())
        await renewed.wait()

    def tree(self, depth: int | None = None) -> Node:
        """This supervisor and all below it, as they are at this moment.

        With `depth` only so many levels below it: 0 is the supervisor alone.
        """
        return self._node(None, depth)

    def _check(self, spec: ChildSpec) -> None:
        self._require_running()
        if spec.significant:
            raise BadSpec(f"child {spec.id!r}: significant, but auto_shutdown is never")
        if spec.id in self._children:
            state = self._children[spec.id].state.value
            raise AlreadyStarted(self.path, spec.id, f"is {state}")
        if self.max_children is not None and len(self._children) >= self.max_children:
            raise MaxChildren(self.path, spec.id, f"would be more than {self.max_children}")

    # --- the supervisor's own task, which sleeps until the end

    def _reset(self) -> None:
        self._giving_up = None

    async def _start_first(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _serve(self) -> None:
        while not self._is_stopping:
            await self._park()
        if self._giving_up is not None:
            raise self._giving_up

    async def _stop_all(self, *, brutal: bool) -> None:
        for child in self._children.values():
            self._ask(child, brutal=brutal)
        while self._children:
            await self._park()

    # --- in the tasks of the children

    def _deliver(self, child: Child, value: object) -> None:
        self._answer(child, outcome.Value(value))
        if child.renewed is not None:
            child.renewed.set(None)
            child.renewed = None

    def _answer(self, child: Child, result: outcome.Outcome[object]) -> None:
        if child.waiter is not None:
            trio.lowlevel.reschedule(child.waiter, result)
            child.waiter = None

    def _on_exit(self, child: Child) -> None:
        ended, child.exit = child.exit, None
        assert ended is not None
        if child.waiter is not None:
            self._fail_start(child, ended)
        elif self._is_stopping or (child.state is State.STOPPING and child.verdict is None):
            if ended.error is not None and not is_shutdown(ended.error):
                self._report(ReportKind.SHUTDOWN_ERROR, child, ended.error)
            self._forget(child)
        else:
            self._deal_with(child, ended)

    def _fail_start(self, child: Child, ended: Exit) -> None:
        self._forget(child)
        if ended.kind is ExitKind.IGNORE:
            self._answer(child, outcome.Value(None))
        elif ended.error is not None and not self._is_stopping:
            self._answer(child, outcome.Error(ended.error))
        else:
            error = NotRunning(self.path, child.id, "was stopped before it was ready")
            error.__cause__ = ended.error
            self._answer(child, outcome.Error(error))

    def _deal_with(self, child: Child, ended: Exit) -> None:
        """It ended by itself, or failed to start again."""
        if isinstance(ended.error, _Renewal):
            self._renew(child)
            return
        is_crash = ended.kind is ExitKind.CRASH
        if is_crash:
            child.note_crash(ended.error)
        was_starting = child.state is State.STARTING
        if was_starting and ended.error is not None:
            self._report(ReportKind.START_ERROR, child, ended.error)
        elif is_crash or child.spec.restart is Restart.PERMANENT:
            self._report(ReportKind.CHILD_TERMINATED, child, ended.error)
        # A restart that ended before it was ready failed, even if with Shutdown.
        kind = ExitKind.CRASH if was_starting and ended.error is not None else ended.kind
        if is_restarted(child.spec.restart, kind):
            self._restart(child, ended.error)
        else:
            self._forget(child)

    def _renew(self, child: Child) -> None:
        child.restarts += 1
        child.since = trio.current_time()
        self._spawn(child)

    def _restart(self, child: Child, error: BaseException | None) -> None:
        now = trio.current_time()
        if not self._log.add(now):
            self._report(ReportKind.SHUTDOWN, child, error)
            self._forget(child)
            self._giving_up = TooManyRestarts(self.path, child.id)
            self._giving_up.__cause__ = error
            self._is_stopping = True
            self._wake()
            return
        child.restarts += 1
        uptime_s = now - child.since if child.state is not State.STARTING else 0.0
        child.since = now
        self._spawn(child, child.backoff_s(uptime_s))
        if child.renewed is not None:
            failure = StartFailed(self.path, child.id, "failed to start again")
            failure.__cause__ = error
            child.renewed.set_error(failure)
            child.renewed = None

    def _forget(self, child: Child) -> None:
        child.state = State.STOPPED
        del self._children[child.id]
        if child.ended is not None:
            child.ended.set()
        if child.renewed is not None:
            text = "was stopped before it was ready"
            child.renewed.set_error(NotRunning(self.path, child.id, text))
            child.renewed = None
        if not self._children:
            self._wake()
