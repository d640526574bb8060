"""gRPC's handlers, which are asyncio's, as trio functions with a caller that was checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, cast

import trio
import trio_asyncio
from cryptography import x509
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Stream
from h2.exceptions import H2Error
from loguru import logger

from services.cluster.ca.identity import Identity, identity_of
from services.cluster.rpc.methods import Who
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    Unauthorized,
    Unavailable,
)
from services.grpc.method import Method

_STATUS_OF: Final[Mapping[type[EngineError], Status]] = MappingProxyType(
    {
        InvalidParameter: Status.INVALID_ARGUMENT,
        NotFound: Status.NOT_FOUND,
        Conflict: Status.FAILED_PRECONDITION,
        Forbidden: Status.PERMISSION_DENIED,
        Unauthorized: Status.UNAUTHENTICATED,
        Unavailable: Status.UNAVAILABLE,
        DeadlineExceeded: Status.DEADLINE_EXCEEDED,
    }
)

# How large a request may be. A stranger's is a signing request; a node's may hold much output.
LIMIT_BYTES: Final[Mapping[Who, int]] = MappingProxyType(
    {Who.ANYONE: 64 * 1024, Who.NODE: 16 * 1024 * 1024, Who.MANAGER: 1024 * 1024}
)
REQUEST_LIMIT_S: Final = 10.0  # until all of it is there

log = logger.bind(service="cluster.rpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end. `certificate` was checked by TLS; None if none was shown."""

    addr: str
    certificate: x509.Certificate | None

    @property
    def identity(self) -> Identity | None:
        """Who the certificate says. Raises Unauthorized for one that is no node's."""
        return None if self.certificate is None else identity_of(self.certificate)


Check = Callable[[Who, Caller], Awaitable[None]]
Unary = Callable[[Caller, Any], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Streaming = Callable[[Caller, Any, Send], Awaitable[None]]


def unary(method: Method[Any, Any], who: Who, check: Check, serve: Unary) -> Handler:
    """A handler for grpclib of a call with one reply, which must come within the method's limit."""

    async def answer(caller: Caller, request: Any, send: Send) -> None:
        with trio.move_on_after(method.limit_s) as scope:
            reply = await serve(caller, request)
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"the managers have not answered in {method.limit_s:g} s")
        await send(reply)

    return streaming(method, who, check, answer)


def streaming(method: Method[Any, Any], who: Who, check: Check, serve: Streaming) -> Handler:
    """A handler for grpclib of a call with one request, whose replies `serve` sends."""

    async def handle(stream: Any) -> None:
        await trio_asyncio.trio_as_aio(_serve)(stream, method, who, check, serve)

    return Handler(handle, method.cardinality, method.request, method.reply)


async def _serve(
    stream: Stream[Any, Any], method: Method[Any, Any], who: Who, check: Check, serve: Streaming
) -> None:
    """One call, in trio. Raises nothing but GRPCError: its text is what the caller gets."""
    try:
        caller = _caller_of(stream)
        await check(who, caller)
        request = await _request_of(stream, LIMIT_BYTES[who])
        if request is not None:  # without one, the caller has broken off
            await serve(caller, request, trio_asyncio.aio_as_trio(stream.send_message))
    except EngineError as error:
        status = next((_STATUS_OF[c] for c in type(error).__mro__ if c in _STATUS_OF), None)
        raise GRPCError(status or Status.INTERNAL, str(error)) from error
    except (StreamTerminatedError, ProtocolError, H2Error, OSError) as error:
        raise GRPCError(Status.UNAVAILABLE, "the caller has gone") from error
    except Exception as error:  # a bug of ours: the log has it, the caller need not
        log.bind(method=method.route).exception("a call between nodes failed")
        raise GRPCError(Status.INTERNAL, "the manager failed; its log says how") from error


async def _request_of(stream: Stream[Any, Any], limit_bytes: int) -> Any:
    """The request; None if the caller has broken off. Raises InvalidParameter when it is too large,
    DeadlineExceeded when it takes too long."""
    raw: Any = stream._stream
    receive = raw.recv_data

    async def receive_bounded(size: int) -> bytes:
        if size > limit_bytes:  # grpclib would gather up to 4 GiB
            raise InvalidParameter(f"a request of {size} bytes is too large")
        data: bytes = await receive(size)
        return data

    raw.recv_data = receive_bounded
    with trio.move_on_after(REQUEST_LIMIT_S):
        return await trio_asyncio.aio_as_trio(stream.recv_message)()
    raise DeadlineExceeded(f"the request has not come in {REQUEST_LIMIT_S:g} s")


def _caller_of(stream: Stream[Any, Any]) -> Caller:
    address = stream.peer.addr()
    certificate = None
    transport = stream.peer._transport  # grpclib offers the certificate only half parsed
    tls = transport.get_extra_info("ssl_object")
    if tls is not None:
        der = cast(bytes | None, tls.getpeercert(binary_form=True))
        certificate = x509.load_der_x509_certificate(der) if der else None
    return Caller(addr=address[0] if address else "", certificate=certificate)
