"""Tag Container of the Engine API: archive, export, changes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from quart import Blueprint

from services.api.types.archives import changes_to_wire, stat_header
from services.api.wire.json_bodies import encode
from services.api.wire.query import Query
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse, StreamResponse
from services.containers import Containers
from services.containers.archives import CopyIn
from services.errors import InvalidParameter

STAT_HEADER = "X-Docker-Container-Path-Stat"


class ContainerFileRoutes:
    """A container's files, in and out."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._archives = containers.archives

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("container_files", __name__)
        one = "/containers/<path:ref>"
        for rule, view, method in (
            (f"{one}/archive", self.archive, "HEAD"),
            (f"{one}/archive", self.archive, "GET"),
            (f"{one}/archive", outlives_client(self.extract), "PUT"),
            (f"{one}/export", self.export, "GET"),
            (f"{one}/changes", self.changes, "GET"),
        ):
            name = f"{view.__name__}_{method.lower()}"
            blueprint.add_url_rule(rule, name, view, methods=[method])
        return blueprint

    async def archive(self, ref: str) -> EngineResponse:
        """GET and HEAD /containers/{id}/archive (ContainerArchive, ContainerArchiveInfo)."""
        request = current_request()
        path = _path(request.query)
        container = self._containers.find(ref)
        if request.method == "HEAD":
            found = await self._archives.stat(container, path)
            info = _empty()
            info.headers[STAT_HEADER] = stat_header(found)
            return info

        @asynccontextmanager
        async def parts() -> AsyncIterator[AsyncIterable[bytes]]:
            # Entered before the head leaves: what is not there is an ordinary 404.
            async with self._archives.copy_out(container, path) as copy:
                response.headers[STAT_HEADER] = stat_header(copy.stat)
                yield copy.pieces

        response = StreamResponse(parts(), content_type="application/x-tar")
        return response

    async def extract(self, ref: str) -> EngineResponse:
        """PUT /containers/{id}/archive (PutContainerArchive)."""
        request = current_request()
        query = request.query
        wanted = CopyIn(
            path=_path(query),
            keeps_directories=query.boolean("noOverwriteDirNonDir"),
            as_user=query.boolean("copyUIDGID"),
        )
        await self._archives.copy_in(self._containers.find(ref), wanted, request.body)
        return _empty()

    async def export(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/export (ContainerExport)."""
        container = self._containers.find(ref)
        return StreamResponse(
            self._archives.export(container), content_type="application/octet-stream"
        )

    async def changes(self, ref: str) -> EngineResponse:
        """GET /containers/{id}/changes (ContainerChanges)."""
        found = await self._archives.changes(self._containers.find(ref))
        return EngineResponse(encode(changes_to_wire(found)))


def _path(query: Query) -> str:
    path = query.text("path")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return path


def _empty() -> EngineResponse:
    response = EngineResponse(b"")
    response.headers.pop("Content-Type", None)
    return response
