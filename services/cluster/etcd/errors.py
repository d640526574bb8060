"""What goes wrong between us and etcd, in the engine's own classes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from services.errors import DeadlineExceeded, EngineError, NotFound, Unavailable
from services.grpc.errors import class_by_status, grpc_errors


class NoQuorum(Unavailable):
    """Too few members can be reached to decide anything, or they are deciding who leads."""


class Compacted(EngineError):
    """The history that was asked for has been thrown away: read everything anew."""


class LeaseGone(NotFound):
    """The lease has expired or was revoked, and its keys have gone with it."""


# etcd has no codes of its own: the texts are those of its etcdserver/api/v3rpc/rpctypes.
_BY_TEXT: Final[tuple[tuple[str, type[EngineError]], ...]] = (
    ("etcdserver: no leader", NoQuorum),
    ("etcdserver: leader changed", NoQuorum),
    ("etcdserver: request timed out", NoQuorum),
    ("raft proposal dropped", NoQuorum),
    ("etcdserver: not healthy for reconfigure", NoQuorum),
    ("etcdserver: unhealthy cluster", NoQuorum),
    ("etcdserver: too many requests", Unavailable),
    ("etcdserver: server stopped", Unavailable),
    ("required revision has been compacted", Compacted),
    ("requested lease not found", LeaseGone),
)

UNKNOWN_OUTCOME: Final = (Unavailable, DeadlineExceeded)
"""After these nobody can say whether a write was made."""


def etcd_errors(what: str) -> AbstractContextManager[None]:
    """As `grpc_errors`, with etcd's peculiarities."""
    return grpc_errors(what, peer="etcd", class_of=_class_of)


def _class_of(error: GRPCError) -> type[EngineError]:
    text = error.message or ""
    for part, cls in _BY_TEXT:
        if part in text:
            return cls
    if error.status is Status.UNKNOWN and "context canceled" in text:
        return Unavailable
    return class_by_status(error)
