"""What goes wrong between us and a gRPC server, in the engine's own classes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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


class CallReset(Unavailable):
    """The peer broke the call off, not the connection: its answer is larger than HTTP/2 carries, as
    when it quotes a name of an archive that has no end."""


Errors = Callable[[str], AbstractContextManager[None]]
"""Turns what is raised within a block into errors of ours, whose texts begin with the argument."""

ClassOf = Callable[[GRPCError], type[EngineError]]

_RESET: Final = "reset by remote party"  # grpclib has no class of its own for it

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
        Status.CANCELLED: Unavailable,  # by the peer as it stops; our own cancel never gets here
        Status.DEADLINE_EXCEEDED: DeadlineExceeded,
    }
)


def class_by_status(error: GRPCError) -> type[EngineError]:
    """By the table alone."""
    return FROM_GRPC.get(error.status, EngineError)


@contextmanager
def grpc_errors(what: str, *, peer: str, class_of: ClassOf = class_by_status) -> Iterator[None]:
    """Turn gRPC's, HTTP/2's and the socket's errors into ours; `what` names call and object.

    asyncio's CancelledError arrives here only when the connection was given up under a call: a
    cancel by trio comes as trio.Cancelled.
    """
    try:
        yield
    except GRPCError as error:
        raise class_of(error)(f"{what}: {error.message}") from error
    except StreamTerminatedError as error:
        if _RESET in str(error):
            raise CallReset(f"{what}: {peer} broke the call off") from error
        raise Unavailable(f"{what}: the connection to {peer} was lost") from error
    except (
        ProtocolError,
        H2Error,
        OSError,
        asyncio.CancelledError,
    ) as error:
        raise Unavailable(f"{what}: the connection to {peer} was lost") from error
