"""What a supervisor refuses, and the reasons for which a child or a supervisor ends.

Refusals are OTP's `{error, already_present}` and so on, as types; each names the supervisor by path
and the child by id. Everything else that a child raises is the child's own and passes unchanged.
"""

from __future__ import annotations


class SupervisorError(Exception):
    """A supervisor would not, or could not, do what it was asked."""

    def __init__(self, supervisor: str, child_id: str, text: str) -> None:
        super().__init__(
            f"{supervisor}: child {child_id!r} {text}" if child_id else f"{supervisor}: {text}"
        )
        self.supervisor = supervisor  # path, such as "root/engine"
        self.child_id = child_id  # empty when no one child is meant


class AlreadyStarted(SupervisorError):
    """`start_child`: a child of that id is running or starting."""


class AlreadyPresent(SupervisorError):
    """`start_child`: a spec of that id is kept, its child is not running."""


class Running(SupervisorError):
    """`restart_child`, `delete_child`: the child runs; terminate it first."""


class Restarting(SupervisorError):
    """`restart_child`, `delete_child`: the child waits for its next restart attempt."""


class NotFound(SupervisorError, LookupError):
    """No child of that id."""


class MaxChildren(SupervisorError):
    """`DynamicSupervisor.start_child`: it holds `max_children` already."""


class NotRunning(SupervisorError):
    """The supervisor, or a child to be renewed, does not run; the call may work later."""


class WouldDeadlock(SupervisorError, RuntimeError):
    """A child that is still starting called the very supervisor that waits for it to be ready."""


class StartFailed(SupervisorError):
    """A supervisor could not start, as a first child did not. `__cause__` is that child's error."""


class StartTimeout(SupervisorError, TimeoutError):
    """A child was not ready within its `start_limit_s`, and was cancelled."""


class StopTimeout(SupervisorError, TimeoutError):
    """A child that drains by itself had not ended within its `shutdown_s`, and was cancelled."""


class Unhealthy(SupervisorError):
    """A child's probe failed too often; it was stopped, which counts as a crash."""


class StrayCancelled(SupervisorError):
    """A child ended with the `trio.Cancelled` of a scope not around it, which is `__cause__`."""


class BadSpec(ValueError):
    """A child spec, or a set of them, breaks a rule; nothing was started."""


class Shutdown(Exception):
    """An orderly end, OTP's `{shutdown, Term}`: a transient child is not restarted after it."""

    def __init__(self, term: object = None) -> None:
        super().__init__(term)
        self.term = term


class TooManyRestarts(Shutdown):
    """A supervisor ended because its children needed more restarts than its intensity allows.

    `__cause__` is the last crash.
    """

    def __init__(self, supervisor: str, child_id: str) -> None:
        super().__init__(f"{supervisor}: too many restarts, the last one of child {child_id!r}")
        self.supervisor = supervisor
        self.child_id = child_id
