"""What goes wrong between us and containerd, in the engine's own classes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from services.errors import EngineError, NotFound
from services.grpc.errors import FROM_GRPC as FROM_GRPC
from services.grpc.errors import AlreadyExists as AlreadyExists
from services.grpc.errors import CallReset as CallReset
from services.grpc.errors import class_by_status, grpc_errors


class ShimGone(NotFound):
    """The task's shim has closed its socket: it ends, and the task with it or before it."""


SHIM_CLOSED: Final = "ttrpc: closed"
"""containerd passes this on as an unknown error, from the moment the shim hangs up until it has
noticed: a call on a task that has just exited may fall in between."""


def containerd_errors(what: str) -> AbstractContextManager[None]:
    """As `grpc_errors`, with containerd's peculiarities."""
    return grpc_errors(what, peer="containerd", class_of=_class_of)


def _class_of(error: GRPCError) -> type[EngineError]:
    if error.status is Status.UNKNOWN and SHIM_CLOSED in (error.message or ""):
        return ShimGone
    return class_by_status(error)
