"""Tag Container of the Engine API: stats, once or for as long as the client listens."""

from __future__ import annotations

from collections.abc import AsyncIterator

from quart import Blueprint

from services.api.types.stats import stats_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse, StreamResponse
from services.containers import Container, Containers
from services.errors import InvalidParameter

ONE_SHOT_SINCE = ApiVersion(1, 41)


class ContainerStatsRoutes:
    """What containers use."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("container_stats", __name__)
        blueprint.add_url_rule("/containers/<path:ref>/stats", "stats", self.stats, methods=["GET"])
        return blueprint

    async def stats(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/stats (ContainerStats)."""
        request = current_request()
        streams = request.query.boolean("stream", default=True)
        is_one_shot = request.query.boolean("one-shot")
        is_one_shot = is_one_shot and request.api_version >= ONE_SHOT_SINCE
        if streams and is_one_shot:
            raise InvalidParameter("cannot have stream=true and one-shot=true")
        container = self._containers.find(ref)
        if streams:
            return StreamResponse(self._follow(container), endless=True)
        return EngineResponse(await self._once(container, primed=not is_one_shot))

    async def _once(self, container: Container, *, primed: bool) -> bytes:
        """One value; `primed`: with the CPU times of a second before, which make a percentage."""
        if not container.state.has_task:
            return encode(stats_to_wire(container, None))
        with self._containers.statistics.subscribe(container) as reader:
            previous = await reader.next() if primed else None
            return encode(stats_to_wire(container, await reader.next(), previous))

    async def _follow(self, container: Container) -> AsyncIterator[bytes]:
        """A value a second until the container is removed; empty ones while it does not run."""
        with self._containers.statistics.subscribe(container) as reader:
            previous = None
            while True:
                sample = await reader.next()
                if self._containers.table.get(container.id) is not container:
                    return
                yield encode(stats_to_wire(container, sample, previous))
                previous = sample
