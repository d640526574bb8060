"""Tag Container of the Engine API, the operations that answer with a stream: attach, logs, wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from quart import Blueprint

from services.api.http.hijack import MULTIPLEXED_STREAM, RAW_STREAM, HijackedStream
from services.api.http.websocket import WebsocketStream, accept_headers
from services.api.types.times import unix_ns
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode
from services.api.wire.query import Query
from services.api.wire.request import EngineRequest, current_request
from services.api.wire.responses import EngineResponse, HijackResponse, StreamResponse
from services.containers import Attached, Container, Containers, ExitWaiter
from services.containers.attach import AttachEnd, ByteStream, serve_attach
from services.containers.logs import Extent, LogQuery
from services.containers.stdio import Stream
from services.containers.stdio.detach import parse_detach_keys
from services.errors import InvalidParameter

MULTIPLEXED_SINCE = ApiVersion(1, 42)
"""From this version on the content type tells framed output from raw."""

BINARY_SINCE = ApiVersion(1, 28)
"""Before, a websocket's messages were text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AttachWish:
    """What a client that attaches asks for."""

    keys: bytes
    stdin: bool
    stdout: bool
    stderr: bool
    logs: bool
    stream: bool
    framed: bool = True  # output of a container without a tty says which stream it is of

    @classmethod
    def of(cls, query: Query) -> _AttachWish:
        """Raises InvalidParameter: detach keys that are none."""
        return cls(
            keys=parse_detach_keys(query.text("detachKeys")),
            **{
                name: query.boolean(name)
                for name in ("stdin", "stdout", "stderr", "logs", "stream")
            },
        )

    def past(self, container: Container, upto: Extent) -> LogQuery:
        """The part of the log that comes before what is streamed."""
        wanted = ((Stream.STDOUT, self.stdout), (Stream.STDERR, self.stderr))
        return LogQuery(
            streams=frozenset(stream for stream, is_wanted in wanted if is_wanted),
            multiplexed=self.framed and not container.definition.config.tty,
            upto=upto,
        )


CONDITIONS_SINCE = ApiVersion(1, 30)
"""Before it a wait was for the end and nothing else, and its parameter meant nothing."""


class ContainerStreamRoutes:
    """The operations whose answer goes on for as long as the container runs."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("container_streams", __name__)
        one = "/containers/<path:ref>"  # a slash only makes a name that nobody has
        for rule, view, method in (
            (f"{one}/attach", self.attach, "POST"),
            (f"{one}/attach/ws", self.attach_websocket, "GET"),
            (f"{one}/logs", self.logs, "GET"),
            (f"{one}/wait", self.wait, "POST"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    async def attach(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/attach (ContainerAttach)."""
        request = current_request()
        container = self._containers.find(ref)
        wanted = _AttachWish.of(request.query)

        async def serve(attached: Attached, peer: HijackedStream) -> None:
            await self._serve(container, wanted, attached, peer)

        return HijackResponse(
            serve,
            session=self._session(container, wanted),
            content_type=output_type(request, container),
        )

    async def attach_websocket(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/attach/ws (ContainerAttachWebsocket): raw output, without frames."""
        request = current_request()
        container = self._containers.find(ref)
        wanted = replace(_AttachWish.of(request.query), framed=False)
        accept = accept_headers(dict(request.headers))
        as_text = request.api_version < BINARY_SINCE

        async def serve(attached: Attached, peer: HijackedStream) -> None:
            stream = WebsocketStream(peer, as_text=as_text)
            await self._serve(container, wanted, attached, stream)

        return HijackResponse(
            serve,
            session=self._session(container, wanted),
            headers=accept,
            protocol="websocket",
        )

    def _session(
        self, container: Container, wanted: _AttachWish
    ) -> AbstractAsyncContextManager[Attached]:
        return self._containers.attach(
            container, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr
        )

    async def _serve(
        self, container: Container, wanted: _AttachWish, attached: Attached, peer: ByteStream
    ) -> None:
        """A session that is open, to its end."""
        await self._containers.tell(container, "attach")
        async with AsyncExitStack() as stack:
            replay = None
            if wanted.logs and attached.logged is not None:
                reader = await self._containers.log_reader(container)
                past = wanted.past(container, attached.logged)
                replay = await stack.enter_async_context(reader.read(past))
            if not wanted.stream:
                async for block in replay or _nothing():
                    await peer.send_all(block)
                return
            end = await serve_attach(
                attached.streams,
                peer,
                multiplexed=not container.definition.config.tty,
                framed=wanted.framed,
                detach_keys=wanted.keys,
                stdin=wanted.stdin,
                replay=replay,
            )
        if end is AttachEnd.DETACHED:
            await self._containers.tell(container, "detach")

    async def logs(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/logs (ContainerLogs)."""
        request = current_request()
        check_streams(request.query)  # before the container is looked for, as dockerd does
        container = self._containers.find(ref)
        log_query = parse_log_query(request.query, tty=container.definition.config.tty)
        reader = await self._containers.log_reader(container)

        async def parts() -> AsyncIterator[bytes]:
            async with reader.read(log_query) as blocks:
                async for block in blocks:
                    yield block

        return StreamResponse(
            parts(), endless=log_query.follow, content_type=output_type(request, container)
        )

    async def wait(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/wait (ContainerWait). The head is sent once we listen."""
        container = self._containers.find(ref)
        request = current_request()
        has_conditions = request.api_version >= CONDITIONS_SINCE
        condition = request.query.text("condition") if has_conditions else ""

        @asynccontextmanager
        async def parts() -> AsyncIterator[AsyncIterator[bytes]]:
            # Entered before the head leaves: whoever has read it may start the container.
            async with self._containers.waiter(container, condition) as waiter:
                yield _exit_of(waiter)

        return StreamResponse(parts())


async def _exit_of(waiter: ExitWaiter) -> AsyncIterator[bytes]:
    status = await waiter.wait()
    answer: dict[str, object] = {"StatusCode": status.code}
    if status.error:
        answer["Error"] = {"Message": status.error}
    yield encode(answer)


def output_type(request: EngineRequest, container: Container) -> str:
    """The content type of a container's output."""
    if container.definition.config.tty or request.api_version < MULTIPLEXED_SINCE:
        return RAW_STREAM
    return MULTIPLEXED_STREAM


def parse_log_query(query: Query, *, tty: bool) -> LogQuery:
    """What a logs request asks for.

    Raises:
        InvalidParameter: no stream is wanted, or a time or number is none.
    """
    streams = check_streams(query)
    since_ns, until_ns = (unix_ns(query.text(name), name) for name in ("since", "until"))
    if until_ns and since_ns > until_ns:
        raise InvalidParameter("since time is later than until time")
    tail = query.text("tail")
    return LogQuery(
        streams=streams,
        follow=query.boolean("follow"),
        tail=int(tail) if tail.isascii() and tail.isdigit() else None,
        since_ns=since_ns,
        until_ns=until_ns,
        timestamps=query.boolean("timestamps"),
        details=query.boolean("details"),
        multiplexed=not tty,
    )


def check_streams(query: Query) -> frozenset[Stream]:
    """The streams that are asked for.

    Raises:
        InvalidParameter: none is.
    """
    if streams := _streams(query):
        return streams
    raise InvalidParameter("Bad parameters: you must choose at least one stream")


def _streams(query: Query) -> frozenset[Stream]:
    return frozenset(
        stream
        for stream, name in ((Stream.STDOUT, "stdout"), (Stream.STDERR, "stderr"))
        if query.boolean(name)
    )


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
