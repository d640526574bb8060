"""gRPC's handlers, which are asyncio's, as trio functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
import trio_asyncio
from betterproto2 import Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Stream
from h2.exceptions import H2Error
from loguru import logger

from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    NotFound,
    Unavailable,
)
from services.grpc.link import bound_messages

from .failures import BuildFailed, grpc_error

REQUEST_LIMIT_S: Final = 30.0  # until all of it is there
REQUEST_LIMIT_BYTES: Final = 16 << 20

# Others are UNKNOWN, whose name clients do not put before the text.
_STATUS_OF: Final = (
    (NotFound, Status.NOT_FOUND),
    (Conflict, Status.ALREADY_EXISTS),
    (Unavailable, Status.UNAVAILABLE),
    (DeadlineExceeded, Status.DEADLINE_EXCEEDED),
)

Metadata = Mapping[str, str]
Send = Callable[[Any], Awaitable[None]]
Serve = Callable[[Any, Metadata, Send], Awaitable[None]]

log = logger.bind(service="buildkit")


def handler(
    request: type[Message], reply: type[Message], serve: Serve, *, streams: bool = False
) -> Handler:
    """A call with one request, and one reply unless it `streams`."""

    async def handle(stream: Any) -> None:
        await trio_asyncio.trio_as_aio(_serve)(stream, serve)

    cardinality = Cardinality.UNARY_STREAM if streams else Cardinality.UNARY_UNARY
    return Handler(handle, cardinality, request, reply)


async def _serve(stream: Stream[Any, Any], serve: Serve) -> None:
    """One call, in trio. Raises nothing but GRPCError: its text is what the caller gets."""
    try:
        request = await _request_of(stream)
        if request is None:  # the caller has broken off
            return
        metadata = {
            name: value for name, value in (stream.metadata or {}).items() if isinstance(value, str)
        }
        await serve(request, metadata, trio_asyncio.aio_as_trio(stream.send_message))
    except BuildFailed as error:
        raise grpc_error(error.failure) from error
    except EngineError as error:
        status = next((known for kind, known in _STATUS_OF if isinstance(error, kind)), None)
        raise GRPCError(status or Status.UNKNOWN, str(error)) from error
    except (StreamTerminatedError, ProtocolError, H2Error, OSError) as error:
        raise GRPCError(Status.UNAVAILABLE, "the caller has gone") from error
    except Exception as error:  # a bug of ours: the log has it
        log.exception("a call of BuildKit's protocol failed")
        raise GRPCError(Status.INTERNAL, "the engine failed; its log says how") from error


async def _request_of(stream: Stream[Any, Any]) -> Any:
    bound_messages(stream, REQUEST_LIMIT_BYTES)
    with trio.move_on_after(REQUEST_LIMIT_S):
        return await trio_asyncio.aio_as_trio(stream.recv_message)()
    raise DeadlineExceeded(f"the request has not come in {REQUEST_LIMIT_S:g} s")
