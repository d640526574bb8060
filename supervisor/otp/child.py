"""One child of a supervisor: the record that outlives its restarts, and its `task_status`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Protocol

import trio

from supervisor.otp.channel import Outcome
from supervisor.otp.node import Node
from supervisor.otp.report import Reports, now_ns
from supervisor.otp.spec import ChildSpec
from supervisor.otp.state import State
from supervisor.otp.stop import StopRequest
from supervisor.otp.strategy import ExitKind

NEVER: Final = math.inf


class Owner(Protocol):
    """What a child needs of the supervisor that owns it."""

    @property
    def path(self) -> str:
        """Where it stands in the tree."""
        ...

    @property
    def parent(self) -> Child | None:
        """The child that it runs as; None for a root."""
        ...

    @property
    def reports(self) -> Reports:
        """Where it reports."""
        ...

    def on_ready(self, child: Child, value: object) -> None:
        """The child has called started() with `value`."""
        ...

    def end_unhealthy(self, child: Child, verdict: Exception) -> None:
        """End the child as if it had crashed with `verdict`."""
        ...


class Nested(Protocol):
    """What is asked, by way of a child, of the supervisor that runs as it."""

    def tree(self, depth: int | None = None) -> Node:
        """It and all below it, to `depth`."""
        ...


class Exit:
    """How an incarnation of a child ended. `error` is None unless it raised or was too late."""

    __slots__ = ("error", "kind")

    def __init__(self, kind: ExitKind, error: BaseException | None = None) -> None:
        self.kind = kind
        self.error = error


class Child:
    """A child from the time its spec was taken until the spec is forgotten.

    Incarnations follow one another in it and never overlap; `scope` and `stop` are those of the
    present one. Written by the supervisor that owns it, and by `Ready`.
    """

    __slots__ = (
        "_state",
        "crashed_at_ns",
        "crashes",
        "ended",
        "exit",
        "failures",
        "last_crash",
        "nested",
        "owner",
        "renewed",
        "restarts",
        "scope",
        "since",
        "spec",
        "state_since",
        "stop",
        "task",
        "verdict",
        "waiter",
    )

    def __init__(self, spec: ChildSpec, owner: Owner) -> None:
        self.spec: Final = spec
        self.owner: Final = owner
        self._state = State.STOPPED
        self.state_since = 0.0  # trio time of the last change of `state`; 0 if there was none
        self.since = 0.0  # trio time of the last change between running and not running
        self.scope: trio.CancelScope | None = None
        self.task: trio.lowlevel.Task | None = None  # not None exactly while an incarnation lives
        self.stop: StopRequest | None = None  # not None once the child drains by itself
        # Of the last incarnation, until its supervisor has dealt with it.
        self.exit: Exit | None = None
        self.verdict: BaseException | None = None  # why the supervisor itself ended the incarnation
        self.waiter: trio.lowlevel.Task | None = None  # who waits in start_child (dynamic)
        self.ended: trio.Event | None = None  # for those who wait in terminate_child (dynamic)
        self.renewed: Outcome[None] | None = None  # for who waits in renew_child (dynamic)
        self.nested: Nested | None = None  # the supervisor that runs as this child
        self.restarts = 0
        self.failures = 0  # ends in a row, for the back-off
        self.crashes = 0  # ends that were crashes, also of restarts that failed
        self.last_crash: BaseException | None = None
        self.crashed_at_ns = 0  # since the epoch

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self.state_since = trio.current_time()

    @property
    def id(self) -> str:
        """The id of its spec."""
        return self.spec.id

    @property
    def path(self) -> str:
        """Where it stands in the tree."""
        return f"{self.owner.path}/{self.spec.id}"

    @property
    def is_live(self) -> bool:
        """Whether an incarnation lives: its scope has been made and its end has not been noted."""
        return self.scope is not None

    @property
    def is_stopped(self) -> bool:
        """Whether only its spec is left. A child that waits for its restart is not stopped."""
        return self.state is State.STOPPED

    @property
    def is_idle(self) -> bool:
        """Whether it has no task that ever ran: it is stopped, or waits for its restart."""
        return self.state is State.STOPPED or self.state is State.RESTARTING

    def backoff_s(self, uptime_s: float) -> float:
        """How long its restart must wait after it has run for `uptime_s`; counts the failure."""
        backoff = self.spec.backoff
        if backoff is None:
            return 0.0
        if uptime_s >= backoff.reset_s:
            self.failures = 0
        self.failures += 1
        return backoff.delay_s(self.failures)

    def note_crash(self, error: BaseException | None) -> None:
        """An incarnation has crashed, or failed to start again."""
        self.crashes += 1
        self.last_crash = error
        self.crashed_at_ns = now_ns()

    @property
    def is_late(self) -> bool:
        """Whether the limit that it was given when it was asked to end is over."""
        return self.scope is not None and trio.current_time() >= self.scope.deadline

    def ask(self, *, brutal: bool = False) -> None:
        """Ask the present incarnation to end; with `brutal` or a limit of 0, cancel it at once.

        Asking again changes nothing, except that a brutal request overrides one that was not.
        """
        scope = self.scope
        if scope is None:
            return
        is_first = self.state is not State.STOPPING
        self.state = State.STOPPING
        self.verdict = None  # it no longer matters that it was unhealthy: somebody wants it to end
        if brutal or self.stop is None or self.spec.shutdown_s == 0:
            scope.cancel()
        elif is_first:
            # Also lifts the deadline of a start limit.
            scope.deadline = trio.current_time() + self.spec.shutdown_s
            self.stop._set()

    def stack(self) -> tuple[str, ...]:
        """Where the child's own task stands, outermost frame first."""
        return () if self.task is None else tuple(_frames(self.task))


class Ready:
    """The `task_status` of one incarnation."""

    __slots__ = ("_child", "_scope")

    def __init__(self, child: Child) -> None:
        self._child: Child | None = child
        self._scope = child.scope

    def started(self, value: object = None) -> None:
        """The child is ready; `value` goes to the caller of `start_child`, if there is one.

        Raises:
            RuntimeError: called a second time.
        """
        child = self._child
        if child is None:
            raise RuntimeError("called 'started' twice on the same task status")
        self._child = None
        if child.scope is self._scope:
            child.owner.on_ready(child, value)


def _frames(task: trio.lowlevel.Task) -> Iterator[str]:
    for frame, line in task.iter_await_frames():
        code = frame.f_code
        yield f"{code.co_filename}:{line} in {code.co_qualname}"
