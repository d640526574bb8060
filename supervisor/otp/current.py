"""The child that the running task is part of, and how that one learns that it is to end."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import trio

from supervisor.otp.child import Child
from supervisor.otp.state import State
from supervisor.otp.stop import StopRequest

current_child: Final[ContextVar[Child | None]] = ContextVar("current_child", default=None)
"""The child that the running task is part of."""


def path_of_task(task: trio.lowlevel.Task) -> str | None:
    """Where the child that a task is part of stands in its tree; None: it is part of none."""
    child = task.context.get(current_child)
    return None if child is None else child.path


def stop_request() -> StopRequest:
    """The stop request of the child that the calling task is part of; the same one on every call.

    From this call on the child drains by itself, like a process that traps exits: asked to stop, it
    is not cancelled at once but finds the request set, and is cancelled `shutdown_s` later. Outside
    of any supervisor the request is one that nobody ever sets, so the same code runs bare.
    """
    child = current_child.get()
    if child is None or child.task is None:
        return StopRequest()
    if child.stop is None:
        child.stop = StopRequest()
        child.stop._is_set = child.state is State.STOPPING
    return child.stop
