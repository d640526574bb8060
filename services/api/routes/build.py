"""Tag Image of the Engine API, as far as it builds: POST /build, POST /build/prune."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import trio
from quart import Blueprint

from services.api.routes.build_query import BUILDKIT, build_request
from services.api.routes.buildkit import LazyBuildKit
from services.api.streams.message_lines import Tell, error_to_wire, message_line, told_lines
from services.api.types.instants import instant_ns
from services.api.types.registry import line_to_wire
from services.api.wire.json_bodies import encode
from services.api.wire.query import Query
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse, StreamResponse
from services.build import (
    Builder,
    BuildPruneFilters,
    BuildRequest,
    CachePruner,
    CommandFailed,
    PruneLimits,
)
from services.errors import EngineError, InvalidParameter
from services.images import Platform, Reference
from services.images.ports import Body
from services.images.reference import DEFAULT_DOMAIN
from services.registry.credentials import ANONYMOUS, Credentials, decode_config_header
from services.registry.registry import Registry
from services.registry.requests import PullRequest

LINES_AHEAD: Final = 64
HELD_MAX_BYTES: Final = 1 << 20
UPLOAD_PREFIX: Final = "upload-request:"
CONFIG_HEADER: Final = "X-Registry-Config"
_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_PRUNE_FILTERS: Final = frozenset({"until", "unused-for", "id", "all", "type"})


class BuildRoutes:
    """ImageBuild and BuildPrune."""

    def __init__(
        self, builder: Builder, registry: Registry, pruner: CachePruner, buildkit: LazyBuildKit
    ) -> None:
        self._builder, self._registry, self._pruner = builder, registry, pruner
        self._buildkit = buildkit

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("build", __name__)
        blueprint.add_url_rule("/build", "build", self.build, methods=["POST"])
        view = outlives_client(self.prune)
        blueprint.add_url_rule("/build/prune", "build_prune", view, methods=["POST"])
        return blueprint

    async def build(self) -> EngineResponse:
        """POST /build (ImageBuild)."""
        request = current_request()
        wanted = build_request(request.query)
        if request.query.text("version") == BUILDKIT:
            return await self._build_by_session(request.query, wanted)
        credentials = decode_config_header(request.headers.get(CONFIG_HEADER, ""))
        puller = _Puller(self._registry, credentials)
        return StreamResponse(_Answer(self._builder, wanted, request.body, puller).lines())

    async def _build_by_session(self, query: Query, wanted: BuildRequest) -> EngineResponse:
        """The same with a session, by which the client is asked for everything."""
        calls = self._buildkit.get().classic
        session_id, build_id = query.text("session"), query.text("buildid")
        if build_id.startswith(UPLOAD_PREFIX):
            await calls.upload(build_id, current_request().body)
            return EngineResponse(b"")

        if not session_id:
            raise InvalidParameter("the build has no session")

        async def work(tell: Tell) -> None:
            await calls.build(wanted, session_id, build_id, tell)

        return StreamResponse(told_lines(work, what="build", ahead=LINES_AHEAD))

    async def prune(self) -> EngineResponse:
        """POST /build/prune (BuildPrune)."""
        query = current_request().query
        filters = prune_filters(query.filters(), time.time_ns())
        pruned = await self._pruner.prune(filters, prune_limits(query))
        answer = {"CachesDeleted": pruned.keys, "SpaceReclaimed": pruned.reclaimed_bytes}
        return EngineResponse(encode(answer))


def prune_filters(filters: Mapping[str, Sequence[str]], now_ns: int) -> BuildPruneFilters:
    """The `filters` of BuildPrune.

    Raises:
        InvalidParameter: an unknown filter, or a time that is none.
    """
    for name in filters:
        if name not in _PRUNE_FILTERS:
            raise InvalidParameter(f"invalid filter '{name}'")
    until = (*filters.get("until", ()), *filters.get("unused-for", ()))
    if len(until) > 1:
        raise InvalidParameter("filters expect only one value")
    return BuildPruneFilters(
        ids=tuple(filters.get("id", ())),
        types=tuple(filters.get("type", ())),
        before_ns=instant_ns(until[0], now_ns) if until else None,
    )


def prune_limits(query: Query) -> PruneLimits:
    """The sizes of BuildPrune. Raises InvalidParameter for one that is no number."""
    return PruneLimits(
        # The older name is that of clients before API 1.48.
        reserved_bytes=query.integer("reserved-space", query.integer("keep-storage")),
        max_used_bytes=query.integer("max-used-space"),
        min_free_bytes=query.integer("min-free-space"),
    )


class _Puller:
    """Pulls base images with the credentials that the client sent for their registries."""

    def __init__(self, registry: Registry, credentials: Mapping[str, Credentials]) -> None:
        self._registry, self._credentials = registry, credentials

    def pull(
        self, reference: Reference, platform: Platform | None
    ) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]:
        """See `Puller.pull`."""
        return self._pull(reference, platform)

    @asynccontextmanager
    async def _pull(
        self, reference: Reference, platform: Platform | None
    ) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        request = PullRequest(
            reference=reference, platform=platform, credentials=self._of(reference.domain)
        )
        async with self._registry.pull(request) as job:

            async def messages() -> AsyncIterator[Mapping[str, Any]]:
                async for lines in job.board.watch():
                    for line in lines:
                        yield line_to_wire(line)
                if job.error is not None:
                    raise job.error

            yield messages()

    def _of(self, domain: str) -> Credentials:
        names = [domain, f"https://{domain}", f"https://{domain}/v1/", f"https://{domain}/v2/"]
        if domain == DEFAULT_DOMAIN:
            names.append(_DOCKER_HUB)
        return next((self._credentials[n] for n in names if n in self._credentials), ANONYMOUS)


class _Answer:
    """One build and what is told of it. Who leaves before its end has built nothing."""

    def __init__(
        self, builder: Builder, request: BuildRequest, body: Body, puller: _Puller
    ) -> None:
        self._builder, self._request = builder, request
        self._body, self._puller = body, puller
        self._begun = trio.Event()  # there is something to tell, also if nobody wants to hear it

    def lines(self) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Build while the block lasts; the lines end with the build.

        Raises:
            EngineError: it failed before there was anything to tell.
        """
        return told_lines(self._build, what="build", ahead=LINES_AHEAD, begun=self._begun)

    async def _build(self, tell: Tell) -> None:
        is_quiet = self._request.is_quiet
        held = _Held()

        async def tell_wanted(message: Mapping[str, Any]) -> None:
            self._begun.set()
            if is_quiet:
                held.add(message)
            else:
                await tell(message)

        try:
            image = await self._builder.build(self._request, self._body, self._puller, tell_wanted)
        except EngineError as error:
            if not self._begun.is_set():
                raise
            for message in held.take():
                await tell(message)
            last = error_to_wire(str(error))
            if isinstance(error, CommandFailed):
                last["errorDetail"]["code"] = error.code
            await tell(last)
        else:
            if is_quiet:
                await tell({"stream": f"{image.id}\n"})


class _Held:
    """The newest messages of a quiet build, HELD_MAX_BYTES of them: if it fails they tell why."""

    def __init__(self) -> None:
        self._messages: deque[tuple[Mapping[str, Any], int]] = deque()  # each with its bytes
        self._bytes = 0

    def add(self, message: Mapping[str, Any]) -> None:
        """Keep it; the oldest make room."""
        size = len(message_line(message))
        self._messages.append((message, size))
        self._bytes += size
        while self._bytes > HELD_MAX_BYTES:
            self._bytes -= self._messages.popleft()[1]

    def take(self) -> list[Mapping[str, Any]]:
        """All of them; none is left."""
        messages, self._bytes = [message for message, _ in self._messages], 0
        self._messages.clear()
        return messages
