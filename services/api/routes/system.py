"""Tag System of the Engine API: version, info, events. `/_ping` is answered before any route."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import trio
from quart import Blueprint

from services.api.cluster_face import OutsideSwarm
from services.api.components import Components
from services.api.ports import ContainerCounts, ImageLister
from services.api.routes.cluster_modules import ClusterModules
from services.api.streams.events import (
    EventEncoder,
    choose_content_type,
    encoded_events,
    parse_event_query,
)
from services.api.types.engine_info import EngineInfo, LiveValues
from services.api.types.system import info_to_wire, version_to_wire
from services.api.types.times import rfc3339_nano
from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse, StreamResponse
from services.containers.cdi import Listing
from services.errors import EngineError
from services.events import EventBus

IMAGES_LIMIT_S: Final = 2.0


class SystemRoutes:
    """What the engine says about itself, and its events.

    `engine` is called for each request: a reload may have changed it; `warnings` too, for what the
    engine's parts want people to know, and in a thread `devices`, which looks for CDI's.
    """

    def __init__(
        self,
        *,
        engine: Callable[[], EngineInfo],
        components: Components,
        containers: ContainerCounts,
        images: ImageLister,
        events: EventBus,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        devices: Callable[[], Listing] = Listing,
        cluster: ClusterModules | None = None,
    ) -> None:
        self._engine = engine
        self._components = components
        self._containers = containers
        self._images = images
        self._events = events
        self._warnings = warnings
        self._devices = devices
        self._cluster = cluster or ClusterModules(OutsideSwarm())
        self._threads = trio.CapacityLimiter(1)

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("system", __name__)
        for rule, view in (
            ("/version", self.version),
            ("/info", self.info),
            ("/events", self.events),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=["GET"])
        return blueprint

    async def version(self) -> EngineResponse:
        """GET /version (SystemVersion)."""
        components = await self._components.look_up()
        return EngineResponse(encode(version_to_wire(self._engine(), components)))

    async def info(self) -> EngineResponse:
        """GET /info (SystemInfo)."""
        version = current_request().api_version
        components = await self._components.look_up()
        live = await self._live_values()
        engine = self._engine()
        wire = info_to_wire(engine, live, components, version=version)
        if engine.generic_resources:
            info = await self._cluster.get("info")
            wire["GenericResources"] = info.resources_to_wire(engine.generic_resources)
        if (swarm := self._cluster.face.info()) is not None:
            wire["Swarm"] = (await self._cluster.get("info")).to_wire(swarm)
        return EngineResponse(encode(wire))

    async def events(self) -> StreamResponse:
        """GET /events (SystemEvents)."""
        request = current_request()
        asked = parse_event_query(request.query)
        content_type = choose_content_type(request.headers.get("Accept", ""))
        engine = self._engine()
        encoder = EventEncoder(
            version=request.api_version,
            content_type=content_type,
            engine_id=engine.engine_id,
            hostname=engine.host.hostname,
        )
        parts = encoded_events(self._events, asked, encoder)
        return StreamResponse(parts, endless=True, content_type=content_type)

    async def _live_values(self) -> LiveValues:
        counts = self._containers.count_states()
        images, warnings = await self._count_images()
        found = await trio.to_thread.run_sync(self._devices, limiter=self._threads)
        return LiveValues(
            containers_running=counts.get("running", 0),
            containers_paused=counts.get("paused", 0),
            containers_stopped=counts.get("stopped", 0),
            images=images,
            event_listeners=self._events.subscribers,
            open_files=await trio.to_thread.run_sync(_count_open_files, limiter=self._threads),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            system_time=rfc3339_nano(time.time_ns()),
            warnings=(*warnings, *self._warnings(), *found.warnings),
            cdi_devices=found.devices,
        )

    async def _count_images(self) -> tuple[int, tuple[str, ...]]:
        """How many there are. The rest of the answer is worth having without containerd."""
        with trio.move_on_after(IMAGES_LIMIT_S):
            try:
                return len(await self._images.list()), ()
            except EngineError:
                pass
        return 0, ("WARNING: containerd does not answer: the number of images is not known",)


def _count_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
