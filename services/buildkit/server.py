"""A client's connection for its calls: gRPC on a stream that was taken over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final

import trio
import trio_asyncio
from grpclib.config import Configuration
from grpclib.const import Handler
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from loguru import logger

from protos.generated.moby.buildkit.v1 import (
    DiskUsageRequest,
    DiskUsageResponse,
    InfoRequest,
    InfoResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    PruneRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
    UsageRecord,
)
from protos.generated.moby.buildkit.v1 import frontend as gateway
from services.errors import Unavailable

from .calls import Metadata, Send, handler
from .failures import DetailsCodec
from .plug import plugged
from .service import Control

CLOSE_LIMIT_S: Final = 5.0
MAX_CONNECTIONS: Final = 128
_CONTROL: Final = "/moby.buildkit.v1.Control"
_BRIDGE: Final = "/moby.buildkit.v1.frontend.LLBBridge"

log = logger.bind(service="buildkit")


def handlers(control: Control) -> Mapping[str, Handler]:
    """By route."""

    async def info(request: InfoRequest, _: Metadata, send: Send) -> None:
        await send(await control.info(request))

    async def workers(request: ListWorkersRequest, _: Metadata, send: Send) -> None:
        await send(await control.list_workers(request))

    async def solve(request: SolveRequest, _: Metadata, send: Send) -> None:
        await send(await control.solve(request))

    async def status(request: StatusRequest, _: Metadata, send: Send) -> None:
        await control.status(request, send)

    async def usage(request: DiskUsageRequest, _: Metadata, send: Send) -> None:
        await send(await control.disk_usage(request))

    async def prune(request: PruneRequest, _: Metadata, send: Send) -> None:
        await control.prune(request, send)

    async def ping(request: gateway.PingRequest, _: Metadata, send: Send) -> None:
        await send(await control.ping(request))

    async def bridge_solve(request: gateway.SolveRequest, said: Metadata, send: Send) -> None:
        await send(await control.gateway_solve(request, said))

    async def give_back(request: gateway.ReturnRequest, said: Metadata, send: Send) -> None:
        await send(await control.gateway_return(request, said))

    return {
        f"{_CONTROL}/Info": handler(InfoRequest, InfoResponse, info),
        f"{_CONTROL}/ListWorkers": handler(ListWorkersRequest, ListWorkersResponse, workers),
        f"{_CONTROL}/Solve": handler(SolveRequest, SolveResponse, solve),
        f"{_CONTROL}/Status": handler(StatusRequest, StatusResponse, status, streams=True),
        f"{_CONTROL}/DiskUsage": handler(DiskUsageRequest, DiskUsageResponse, usage),
        f"{_CONTROL}/Prune": handler(PruneRequest, UsageRecord, prune, streams=True),
        f"{_BRIDGE}/Ping": handler(gateway.PingRequest, gateway.PongResponse, ping),
        f"{_BRIDGE}/Solve": handler(gateway.SolveRequest, gateway.SolveResponse, bridge_solve),
        f"{_BRIDGE}/Return": handler(gateway.ReturnRequest, gateway.ReturnResponse, give_back),
    }


class _Mapped:
    """What grpclib wants of a set of handlers."""

    def __init__(self, found: Mapping[str, Handler]) -> None:
        self._found = found

    def __mapping__(self) -> dict[str, Handler]:
        """By route."""
        return dict(self._found)


class _Connection(H2Protocol):
    """A connection that says when it is lost."""

    lost: trio.Event

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio's."""
        super().connection_lost(exc)
        self.lost.set()


class _Server(Server):
    """grpclib's server for one connection, which it is given."""

    def __init__(self, found: Mapping[str, Handler]) -> None:
        super().__init__(
            [_Mapped(found)],
            codec=ProtoCodec(),
            status_details_codec=DetailsCodec(),
            config=Configuration(),
        )
        self.lost = trio.Event()

    async def take(self, connection: socket.socket) -> None:
        """Serve whoever is at the other end from now on."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._connection, connection)

    def close(self) -> None:
        """End calls."""
        for each in self._handlers:
            each.close()

    async def wait_closed(self) -> None:
        """Until calls have ended."""
        if self._handlers:
            loop = asyncio.get_running_loop()
            await asyncio.wait({loop.create_task(each.wait_closed()) for each in self._handlers})

    def _connection(self) -> _Connection:
        made = super()._protocol_factory()
        connection = _Connection(made.handler, made.config, made.h2_config)
        connection.lost = self.lost
        return connection


class ControlServer:
    """Serves connections that were taken over; each has an asyncio loop of its own."""

    def __init__(self, control: Control) -> None:
        self._handlers = handlers(control)
        self._open = 0

    def check(self) -> None:
        """Raises Unavailable when there are too many connections."""
        if self._open >= MAX_CONNECTIONS:
            raise Unavailable(f"there are {MAX_CONNECTIONS} connections of builders already")

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer calls until the client goes; then builds that it has begun end, too."""
        self._open += 1
        try:
            async with trio_asyncio.open_loop() as loop:
                loop.set_exception_handler(_report)
                server = await trio_asyncio.aio_as_trio(_make)(self._handlers)
                try:
                    async with plugged(stream) as connection:
                        await trio_asyncio.aio_as_trio(server.take)(connection)
                        await server.lost.wait()
                finally:
                    server.close()
                    with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                        await trio_asyncio.aio_as_trio(server.wait_closed)()
        finally:
            self._open -= 1


async def _make(found: Mapping[str, Handler]) -> _Server:
    return _Server(found)


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's handler of last resort: a connection that failed is closed; the loop goes on."""
    log.bind(error=str(context.get("exception", ""))).info(
        "a connection of BuildKit's protocol failed: {}", context.get("message", "")
    )
