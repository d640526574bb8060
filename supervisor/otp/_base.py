"""What both kinds of supervisor do: run(), the life of an incarnation, waiting."""

from __future__ import annotations

import contextvars
from abc import abstractmethod

import trio

from supervisor.otp._roster import Roster
from supervisor.otp._start import run_start
from supervisor.otp.child import NEVER, Child
from supervisor.otp.current import current_child, stop_request
from supervisor.otp.errors import BadSpec, NotRunning, Restarting
from supervisor.otp.exits import classify, is_fatal
from supervisor.otp.intensity import Intensity
from supervisor.otp.overdue import Overdue
from supervisor.otp.report import ReportKind
from supervisor.otp.spec import Restart
from supervisor.otp.state import State


class SupervisorBase(Roster):
    """A supervisor's task and what it does for every child, whatever the strategy."""

    def __init__(self, *, name: str, intensity: Intensity) -> None:
        super().__init__(name=name, intensity=intensity)
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.Context()
        self._is_stopping = False
        self._parked: trio.lowlevel.Task | None = None
        self._overdue = Overdue()
        self._alarm = trio.CancelScope()  # around the sleep of our task; its deadline wakes us

    # --- what the two kinds differ in

    @abstractmethod
    def _reset(self) -> None:
        """Forget a former run."""

    @abstractmethod
    async def _start_first(self) -> None:
        """Start what is there from the beginning, or raise."""

    @abstractmethod
    async def _serve(self) -> None:
        """Work until asked to stop; raise `Shutdown` to give up."""

    @abstractmethod
    async def _stop_all(self, *, brutal: bool) -> None:
        """End every child; none lives afterwards."""

    @abstractmethod
    def _on_exit(self, child: Child) -> None:
        """An incarnation has ended, by `child.exit`. Called in the last step of its own task."""

    # --- the supervisor's own life

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children, keep them, and stop them; ready when the first ones all are.

        May be the `start` of a `ChildSpec`, and may be run again after it ended: it then begins
        with its initial specs. Asked to stop by the supervisor above it, it stops its children and
        returns. Cancelled, it cancels them, one after the other, without their time to drain.

        Raises:
            StartFailed: a first child did not start; those that had are stopped again.
            TooManyRestarts: the intensity was exceeded; all children are stopped.
            Shutdown: auto_shutdown ended it; all children are stopped.
            RuntimeError: it is running already.
        """
        self._enter()
        ending: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    await self._live_through(task_status)
                except BaseException as error:  # raised again below, once no child lives
                    ending = error
                self._is_stopping = True  # or a call that comes now would wait for ever
                with trio.CancelScope(shield=True):
                    await self._stop_all(brutal=True)
            if ending is not None:
                raise ending
        finally:
            ending = None  # its traceback holds this frame
            self._leave()

    async def _live_through(self, task_status: trio.TaskStatus[object]) -> None:
        """Start, serve, stop in good order. Raises why it ended; cancelled, it leaves children."""
        try:
            await self._start_first()
            if not self._is_stopping:
                task_status.started(self)
            await self._serve()
        except Exception:
            await self._stop_in_order()
            raise
        await self._stop_in_order()

    async def _stop_in_order(self) -> None:
        self._is_stopping = True
        await self._stop_all(brutal=False)

    def _enter(self) -> None:
        if self._nursery is not None:
            raise RuntimeError(f"supervisor {self.path} is running already")
        self._is_stopping = False
        parent = current_child.get()
        self._parent = parent
        self._path = self.name
        self.reports.above = None
        if parent is not None:
            # The first supervisor in a child is that child in the tree; a second one needs a name.
            self._path = parent.path if parent.nested is None else f"{parent.path}/{self.name}"
            self.reports.above = parent.owner.reports
            if parent.nested is None:
                parent.nested = self
            if parent.task is trio.lowlevel.current_task():
                # Only the child's main task speaks for the child: it ends when we return.
                stop_request().listen(self.stop)
        self._children = {}
        self._began = trio.current_time()
        self._overdue = Overdue()
        self._log.clear()
        self._context = contextvars.copy_context()
        self._reset()

    def _leave(self) -> None:
        if self._parent is not None and self._parent.nested is self:
            self._parent.nested = None
        self._nursery = None
        self._is_stopping = True

    def stop(self) -> None:
        """Ask the supervisor to end: it stops its children in good order, and `run` returns.

        Does nothing if it is not running. For the root of a tree; below it, `terminate_child` of
        the supervisor above does this.
        """
        self._is_stopping = True
        self._wake()

    def _state(self) -> State:
        if self._nursery is None:
            return State.STOPPED
        return State.STOPPING if self._is_stopping else State.RUNNING

    def _require_renewable(self, child_id: str) -> Child:
        """A child that runs and would come back. Raises as `renew_child`."""
        child = self._require(child_id)
        if child.spec.restart is Restart.TEMPORARY:
            raise BadSpec(f"child {child_id!r} is temporary: it would not come back")
        if child.is_stopped:
            raise NotRunning(self.path, child_id, "does not run")
        if child.state is not State.RUNNING:
            raise Restarting(self.path, child_id, f"is {child.state.value}")
        return child

    def _require_running(self) -> None:
        if self._nursery is None or self._is_stopping:
            raise NotRunning(self.path, "", "it is not running")

    # --- the life of one incarnation

    def _spawn(self, child: Child, delay_s: float = 0.0) -> None:
        """Begin an incarnation, after `delay_s`. It gets a copy of the supervisor's context."""
        nursery = self._nursery
        assert nursery is not None
        # Shielded: if we are cancelled from outside it is we who end the children, in our order.
        child.scope = trio.CancelScope(shield=True)
        child.state = State.STARTING if delay_s == 0 else State.RESTARTING
        child.stop = child.exit = child.verdict = None
        self._context.run(self._start_soon, nursery, child, delay_s)

    def _start_soon(self, nursery: trio.Nursery, child: Child, delay_s: float) -> None:
        nursery.start_soon(self._live, child, delay_s, name=child.spec.id)

    async def _live(self, child: Child, delay_s: float) -> None:
        current_child.set(child)
        child.task = trio.lowlevel.current_task()
        error: BaseException | None = None
        scope = child.scope
        assert scope is not None
        try:
            with scope:
                if delay_s:
                    await trio.sleep(delay_s)
                    child.state = State.STARTING
                if child.state is State.STARTING:  # not asked to end before it began
                    self._limit_start(child, scope)
                    await run_start(child)
        except BaseException as caught:
            error = caught
        try:
            child.exit = classify(child, scope, error)
            child.task = child.scope = None
            self._overdue.forget(child)
            if error is not None and is_fatal(error):
                self._is_stopping = True
                raise error
        finally:
            error = None  # its traceback holds this frame
            self._on_exit(child)

    def _limit_start(self, child: Child, scope: trio.CancelScope) -> None:
        limit_s = child.spec.start_limit_s
        if limit_s is not None:
            scope.deadline = trio.current_time() + limit_s
            self._watch(child, scope.deadline)

    def on_ready(self, child: Child, value: object) -> None:
        """The child has called started(); too late if it is being stopped or its limit is over."""
        scope = child.scope
        if child.state is not State.STARTING or scope is None:
            return
        if child.spec.start_limit_s is not None:
            if scope.cancel_called:
                return
            scope.deadline = NEVER
            self._overdue.forget(child)
        child.state = State.RUNNING
        child.since = trio.current_time()
        if self.reports.has_readers():
            self._report(ReportKind.PROGRESS, child)
        self._deliver(child, value)

    @abstractmethod
    def _deliver(self, child: Child, value: object) -> None:
        """Pass what the child gave to started() to whoever waits for it."""

    # --- waiting, and children that do not end

    async def _park(self) -> None:
        """Sleep until woken or something is due. The caller checks its condition and loops."""
        with trio.CancelScope(deadline=self._next_due()) as self._alarm:
            self._parked = trio.lowlevel.current_task()
            try:
                await trio.lowlevel.wait_task_rescheduled(self._abort_park)
            finally:
                self._parked = None
        now = trio.current_time()
        if self._next_due() <= now:
            # It may be we, or the whole loop, that are late: whoever can end now has a turn to.
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._fire_due(now)

    def _wake(self) -> None:
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    def _abort_park(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None  # a wake-up between now and the Cancelled would wake us twice
        return trio.lowlevel.Abort.SUCCEEDED

    def _next_due(self) -> float:
        return self._overdue.next_at()

    def _fire_due(self, now: float) -> None:
        for child, overdue_s in self._overdue.take(now):
            self._report(ReportKind.STUCK, child, stack=child.stack(), overdue_s=overdue_s)

    def _watch(self, child: Child, limit_at: float) -> None:
        """Report the child as stuck unless it ends by `limit_at`, or a little later."""
        due = self._overdue.watch(child, limit_at)
        if due < self._alarm.deadline:
            self._alarm.deadline = due

    def _ask(self, child: Child, *, brutal: bool = False) -> None:
        """Ask it to end and watch that it does."""
        child.ask(brutal=brutal)
        limit_s = 0.0 if brutal else child.spec.shutdown_s
        self._watch(child, trio.current_time() + limit_s)

    def end_unhealthy(self, child: Child, verdict: Exception) -> None:
        """End it as if it had crashed with `verdict`. For its probe."""
        self._ask(child)
        child.verdict = verdict
