"""Tag Container of the Engine API: create, list, inspect, start, stop, and so on.

attach, logs and wait, whose answers are streams, are in `container_streams`.
"""

from __future__ import annotations

import math
import re
import time
from typing import Final

from quart import Blueprint

from services.api.filters.container_prune import prune_filters
from services.api.front.container_images import ContainerImages
from services.api.front.container_list import ContainerList
from services.api.front.quick_containers import QuickContainers
from services.api.versions.create import adapted
from services.api.versions.create_body import CreateBody
from services.api.versions.create_draft import Draft
from services.api.versions.update import adapted_update
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.query import Query
from services.api.wire.request import EngineRequest, current_request, outlives_client
from services.api.wire.responses import EngineResponse
from services.containers import Containers, CreateRequest, list_processes
from services.containers.config import ContainerConfig, HostConfig
from services.containers.spec import parse_signal
from services.errors import Conflict, InvalidParameter, NotFound
from services.system import HostFacts

NO_CONTENT = 204
CREATED = 201
LONGEST_EMPTY_BODY_BYTES: Final = 7
"""dockerd's: an object with something in it is longer."""

PLATFORM_SINCE = ApiVersion(1, 41)
SIGNAL_SINCE = ApiVersion(1, 42)
_WHOLE_NUMBER = re.compile(r"-?[0-9]+\Z")


class ContainerRoutes:
    """The operations whose answer is one value."""

    def __init__(
        self,
        containers: Containers,
        *,
        quick: QuickContainers,
        listing: ContainerList,
        images: ContainerImages,
        facts: HostFacts,
        default_network: str = "bridge",
    ) -> None:
        self._containers = containers
        self._quick = quick
        self._listing = listing
        self._images = images
        self._facts = facts
        self._default_network = default_network

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("containers", __name__)
        one = "/containers/<path:ref>"  # a slash only makes a name that nobody has
        for rule, view, method in (
            ("/containers/json", self.list, "GET"),
            ("/containers/create", self.create, "POST"),
            ("/containers/prune", self.prune, "POST"),
            (f"{one}/json", self.inspect, "GET"),
            (f"{one}/top", self.top, "GET"),
            (f"{one}/start", self.start, "POST"),
            (f"{one}/stop", self.stop, "POST"),
            (f"{one}/restart", self.restart, "POST"),
            (f"{one}/kill", self.kill, "POST"),
            (f"{one}/pause", self.pause, "POST"),
            (f"{one}/unpause", self.unpause, "POST"),
            (f"{one}/rename", self.rename, "POST"),
            (f"{one}/update", self.update, "POST"),
            (f"{one}/resize", self.resize, "POST"),
            (one, self.remove, "DELETE"),
        ):
            handler = view if method == "GET" else outlives_client(view)
            blueprint.add_url_rule(rule, view.__name__, handler, methods=[method])
        return blueprint

    async def list(self) -> EngineResponse:
        """GET /containers/json (ContainerList)."""
        request = current_request()
        query = request.query
        images = await self._images.now()
        chosen = self._listing.choose(query, images)
        sizes = await self._containers.sizes.of_all(chosen) if query.boolean("size") else {}
        return _json(self._listing.encode(chosen, images, sizes, version=request.api_version))

    async def create(self) -> EngineResponse:
        """POST /containers/create (ContainerCreate)."""
        query = current_request().query
        version = current_request().api_version
        body = await read_json(CreateBody)
        if body is None or _config_of(body) == ContainerConfig():
            raise InvalidParameter("config cannot be empty in order to create a container")
        draft = adapted(self._draft(body), version)
        created = await self._containers.create(
            CreateRequest(
                name=query.text("name"),
                platform=query.text("platform") if version >= PLATFORM_SINCE else "",
                config=_config_of(draft.body),
                host_config=draft.body.host_config,
                networking=draft.body.networking_config,
                read_only_below=draft.read_only_below,
            )
        )
        warnings = [*created.warnings, *draft.warnings]
        answer = {"Id": created.container.id, "Warnings": warnings}
        return _json(encode(answer), CREATED)

    def _draft(self, body: CreateBody) -> Draft:
        mode = body.host_config.network_mode
        return Draft(
            body=body,
            mode=self._default_network if mode in ("", "default") else mode,
            cgroup_v1=self._facts.cgroup.version == "1",
        )

    async def prune(self) -> EngineResponse:
        """POST /containers/prune (ContainerPrune)."""
        filters = prune_filters(current_request().query.filters(), time.time_ns())
        pruned = await self._containers.pruner.prune(filters)
        answer = {
            "ContainersDeleted": pruned.container_ids or None,
            "SpaceReclaimed": pruned.reclaimed_bytes,
        }
        return _json(encode(answer))

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/json (ContainerInspect)."""
        request = current_request()
        container = self._containers.find(ref)
        wants_size = request.query.boolean("size")
        size = await self._containers.sizes.of(container) if wants_size else None
        return _json(self._quick.inspected(container, size, request.api_version))

    async def top(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/top (ContainerTop)."""
        container = self._containers.find(ref)
        pids = await self._containers.process_ids(container)
        arguments = current_request().query.text("ps_args") or "-ef"
        titles, processes = await list_processes(pids, arguments)
        await self._containers.tell(container, "top")
        return _json(encode({"Titles": titles, "Processes": processes}))

    async def start(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/start (ContainerStart)."""
        _refuse_host_config(current_request())
        await self._containers.start(self._containers.find(ref))
        return without_body(NO_CONTENT)

    async def stop(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/stop (ContainerStop)."""
        query = current_request().query
        container = self._containers.find(ref)
        await self._containers.stop(container, signal=_signal(query), grace_s=_grace_s(query))
        return without_body(NO_CONTENT)

    async def restart(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/restart (ContainerRestart)."""
        query = current_request().query
        container = self._containers.find(ref)
        await self._containers.restart(container, signal=_signal(query), grace_s=_grace_s(query))
        return without_body(NO_CONTENT)

    async def kill(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/kill (ContainerKill)."""
        signal = current_request().query.text("signal")
        if signal:
            parse_signal(signal)  # before the container is looked for, as dockerd does
        try:
            await self._containers.kill(self._containers.find(ref), signal)
        except (Conflict, NotFound) as error:
            raise type(error)(f"cannot kill container: {ref}: {error}") from error
        return without_body(NO_CONTENT)

    async def pause(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/pause (ContainerPause)."""
        await self._containers.pause(self._containers.find(ref))
        return without_body(NO_CONTENT)

    async def unpause(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/unpause (ContainerUnpause)."""
        await self._containers.unpause(self._containers.find(ref))
        return without_body(NO_CONTENT)

    async def rename(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/rename (ContainerRename)."""
        name = current_request().query.text("name")
        if not name:  # before the container is looked for, as dockerd does
            raise InvalidParameter("Neither old nor new names may be empty")
        await self._containers.rename(self._containers.find(ref), name)
        return without_body(NO_CONTENT)

    async def update(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/update (ContainerUpdate)."""
        wanted = await read_json(HostConfig) or HostConfig()
        wanted = adapted_update(wanted, current_request().api_version)
        warnings = await self._containers.update(self._containers.find(ref), wanted)
        return _json(encode({"Warnings": warnings or None}))

    async def resize(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/resize (ContainerResize)."""
        height, width = terminal_size(current_request().query)
        await self._containers.resize(self._containers.find(ref), width=width, height=height)
        return without_body(200)

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /containers/{id} (ContainerDelete)."""
        query = current_request().query
        if query.boolean("link"):
            await self._containers.remove_link(ref)
            return without_body(NO_CONTENT)
        container = self._containers.find(ref)
        await self._containers.remove(
            container, force=query.boolean("force"), volumes=query.boolean("v")
        )
        return without_body(NO_CONTENT)


def terminal_size(query: Query) -> tuple[int, int]:
    """Rows and columns of a resize.

    Raises:
        InvalidParameter: one of them is missing or no size of a terminal.
    """
    sizes = []
    for name, what in (("h", "height"), ("w", "width")):
        text = query.text(name)
        if not _WHOLE_NUMBER.match(text):
            raise InvalidParameter(f'invalid resize {what} "{text}": invalid syntax')
        if len(text) > 10 or not 0 <= int(text) < 2**32:
            raise InvalidParameter(f'invalid resize {what} "{text}": value out of range')
        sizes.append(int(text))
    return sizes[0], sizes[1]


def _signal(query: Query) -> str:
    """Of a stop or a restart; older clients have no say in it."""
    return query.text("signal") if current_request().api_version >= SIGNAL_SINCE else ""


def _grace_s(query: Query) -> float | None:
    if not query.text("t"):
        return None
    seconds = query.integer("t")
    return math.inf if seconds < 0 else float(seconds)


def _config_of(body: CreateBody) -> ContainerConfig:
    fields = {name: getattr(body, name) for name in ContainerConfig.__struct_fields__}
    return ContainerConfig(**fields)


def _json(data: bytes, status: int = 200) -> EngineResponse:
    return EngineResponse(data, status)


def without_body(status: int) -> EngineResponse:
    """An answer of nothing but its head."""
    response = EngineResponse(b"", status)
    response.headers.pop("Content-Type", None)
    return response


def _refuse_host_config(request: EngineRequest) -> None:
    """Up to API 1.23 a start could carry the settings; to pass over them would be dangerous.

    Raises:
        InvalidParameter: there is a body with something in it.
    """
    length = request.content_length
    if "Transfer-Encoding" in request.headers or (length or 0) > LONGEST_EMPTY_BODY_BYTES:
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
