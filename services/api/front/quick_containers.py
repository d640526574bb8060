"""What is asked about containers most and needs no waiting: lists, and one container inspected.

Nothing here imports quart: a daemon that has just started answers these before its routes are
there, which takes a third of its start.
"""

from __future__ import annotations

from services.api.front.container_images import ContainerImages
from services.api.front.container_list import ContainerList
from services.api.front.fast import FastRoutes
from services.api.http.asgi import Scope
from services.api.types.containers import inspect_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.gojson import encode
from services.api.wire.query import parse_query
from services.containers import Container, Containers
from services.containers.sizes import Size
from services.errors import EngineError


class QuickContainers:
    """The answers that are in memory; quart's routes of the same paths give all others."""

    def __init__(
        self,
        containers: Containers,
        *,
        listing: ContainerList,
        images: ContainerImages,
        has_apparmor: bool,
    ) -> None:
        self._containers = containers
        self._listing = listing
        self._images = images
        self._has_apparmor = has_apparmor

    def add_to(self, fast: FastRoutes) -> None:
        """Answer by the table, before quart is asked."""
        fast.add("GET", "/containers/json", self._list)
        fast.add_item("GET", "containers", "json", self._inspect)

    def _list(self, scope: Scope, version: ApiVersion) -> bytes | None:
        try:
            query = parse_query(scope["query_string"])
            if query.boolean("size"):
                return None
            images = self._images.at_once()
            if images is None:
                return None
            return self._listing.encode(
                self._listing.choose(query, images), images, version=version
            )
        except EngineError:
            return None

    def _inspect(self, scope: Scope, version: ApiVersion, ref: str) -> bytes | None:
        if scope["query_string"]:
            return None
        try:
            return self.inspected(self._containers.find(ref), None, version)
        except EngineError:
            return None

    def inspected(self, container: Container, size: Size | None, version: ApiVersion) -> bytes:
        """Schema ContainerInspectResponse; `size` if it was asked for."""
        wire = inspect_to_wire(
            container,
            places=self._containers.places(container),
            execs=[exec_.id for exec_ in self._containers.execs.of(container)]
            if container.state.has_task
            else [],
            links=self._containers.links.shown(container),
            size=size,
            has_apparmor=self._has_apparmor,
            version=version,
        )
        return encode(wire)
