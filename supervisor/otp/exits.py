"""How an incarnation of a child ended, read from what its task raised and what was asked of it."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from supervisor.otp.child import Child, Exit
from supervisor.otp.errors import Shutdown, StartTimeout, StopTimeout, StrayCancelled
from supervisor.otp.state import State
from supervisor.otp.strategy import ExitKind


def classify(child: Child, scope: trio.CancelScope, error: BaseException | None) -> Exit:
    """What the end means. `scope` was around it; `error` is what came through that scope.

    `child.state` is still the one at the end: it says whether the child was ready, and whether it
    was asked to end.
    """
    if child.verdict is not None:
        child.verdict.__cause__ = error
        return Exit(ExitKind.CRASH, child.verdict)
    if error is not None and not isinstance(error, Exception) and not is_fatal(error):
        # A Cancelled, perhaps in a group. Ours never get here, `scope` catches them: this one was
        # kept from some other scope.
        stray = StrayCancelled(child.owner.path, child.id, "was cancelled by a scope not around it")
        stray.__cause__ = error
        error = stray
    if child.state is State.STOPPING:
        return Exit(ExitKind.SHUTDOWN, _error_of_stop(child, scope, error))
    if error is not None:
        return Exit(ExitKind.SHUTDOWN if is_shutdown(error) else ExitKind.CRASH, error)
    if child.state is State.RUNNING:
        return Exit(ExitKind.NORMAL)
    if scope.cancel_called:  # by the start limit, or it would not be in this state
        text = f"was not ready within {child.spec.start_limit_s} s"
        return Exit(ExitKind.CRASH, StartTimeout(child.owner.path, child.id, text))
    return Exit(ExitKind.IGNORE)


def is_shutdown(error: BaseException) -> bool:
    """Whether it is `Shutdown`, or the group that a child's own nursery made of it."""
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, Shutdown)
    return all(isinstance(leaf, Shutdown) for leaf in _leaves(error))


def is_fatal(error: BaseException) -> bool:
    """Whether it asks for the end of the whole program, which no supervisor may decide about."""
    if isinstance(error, Exception):
        return False  # also a group: an ExceptionGroup has nothing else in it
    ours = (Exception, trio.Cancelled, GeneratorExit)
    return not all(isinstance(leaf, ours) for leaf in _leaves(error))


def _error_of_stop(
    child: Child, scope: trio.CancelScope, error: BaseException | None
) -> BaseException | None:
    """What is wrong with the end of a child that was asked for it; None if nothing is."""
    if error is not None:
        return None if is_shutdown(error) else error
    if scope.cancelled_caught and child.stop is not None and child.is_late:
        text = f"did not end within {child.spec.shutdown_s:g} s"
        return StopTimeout(child.owner.path, child.id, text)
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
