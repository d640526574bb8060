"""What goes wrong between us and containerd, in the engine's own classes."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from services.errors import Conflict, EngineError, NotFound
from services.grpc.errors import FROM_GRPC as FROM_GRPC
from services.grpc.errors import AlreadyExists as AlreadyExists
from services.grpc.errors import CallReset as CallReset
from services.grpc.errors import class_by_status, grpc_errors


class ShimGone(NotFound):
    """The task's shim has closed its socket: it ends, and the task with it or before it."""


class TaskEnded(NotFound):
    """The task's process has ended: what was asked for is for tasks that run."""


ENDED: Final = re.compile(
    r"cannot (?:pause|resume|update) a (?:stopped|deleted) (?:container|process)"
    r"|cannot exec in a (?:stopped|deleted) state"
    r"|container not running"
)
"""The shim's words for it, until it is told to take the task away, and runc's, before the shim has
heard of it. Source: containerd, pkg/process, init_state.go; runc, libcontainer/error.go."""

NOT_PAUSED: Final = "container not paused"
"""runc's answer to a resume of what has been thawed, as by a kill that was under way."""

SHIM_CLOSED: Final = "ttrpc: closed"
"""containerd passes this on as an unknown error, from the moment the shim hangs up until it has
noticed: a call on a task that has just exited may fall in between."""


def containerd_errors(what: str) -> AbstractContextManager[None]:
    """As `grpc_errors`, with containerd's peculiarities."""
    return grpc_errors(what, peer="containerd", class_of=_class_of)


def _class_of(error: GRPCError) -> type[EngineError]:
    if error.status is Status.UNKNOWN and SHIM_CLOSED in (error.message or ""):
        return ShimGone
    if error.status is Status.UNKNOWN and ENDED.search(error.message or ""):
        return TaskEnded
    if error.status is Status.UNKNOWN and NOT_PAUSED in (error.message or ""):
        return Conflict
    return class_by_status(error)
