"""What goes wrong between us and containerd, in the engine's own classes: one table, used once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    NotSupported,
    Unauthorized,
    Unavailable,
)


class AlreadyExists(Conflict):
    """An object of that name is there; for content, named by its digest, as good as done."""


# A status that is absent says nothing about what a caller could do: EngineError, 500.
FROM_GRPC: Final[Mapping[Status, type[EngineError]]] = MappingProxyType(
    {
        Status.INVALID_ARGUMENT: InvalidParameter,
        Status.OUT_OF_RANGE: InvalidParameter,
        Status.NOT_FOUND: NotFound,
        Status.ALREADY_EXISTS: AlreadyExists,
        Status.FAILED_PRECONDITION: Conflict,
        Status.ABORTED: Conflict,
        Status.PERMISSION_DENIED: Forbidden,
        Status.UNAUTHENTICATED: Unauthorized,
        Status.UNIMPLEMENTED: NotSupported,
        Status.UNAVAILABLE: Unavailable,
        Status.CANCELLED: Unavailable,  # by containerd as it stops; our own cancel never gets here
        Status.DEADLINE_EXCEEDED: DeadlineExceeded,
    }
)


@contextmanager
def containerd_errors(what: str) -> Iterator[None]:
    """Turn gRPC's, HTTP/2's and the socket's errors into ours; `what` names call and object.

    asyncio's CancelledError arrives here only when the connection was given up under a call: a
    cancel by trio comes as trio.Cancelled.
    """
    try:
        yield
    except GRPCError as error:
        raise FROM_GRPC.get(error.status, EngineError)(f"{what}: {error.message}") from error
    except (
        StreamTerminatedError,
        ProtocolError,
        H2Error,
        OSError,
        asyncio.CancelledError,
    ) as error:
        raise Unavailable(f"{what}: the connection to containerd was lost") from error
