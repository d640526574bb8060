"""Tag Image of the Engine API: images out of containers and out of archives."""

from __future__ import annotations

from collections.abc import Callable

from quart import Blueprint

from services.api.streams.image_import import answer_import, wanted_reference
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse
from services.containers import Containers
from services.containers.commit import CommitRequest
from services.containers.config import ContainerConfig
from services.images.imports import Compose

CREATED = 201


class ImageMakingRoutes:
    """ImageCommit, and ImageCreate from a source."""

    def __init__(
        self, containers: Containers, compose: Compose, *, pull: Callable[[], EngineResponse]
    ) -> None:
        """`pull` answers a create that names an image of a registry."""
        self._containers = containers
        self._compose = compose
        self._pull = pull

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("image_making", __name__)
        view = outlives_client(self.commit)
        blueprint.add_url_rule("/commit", "commit", view, methods=["POST"])
        blueprint.add_url_rule("/images/create", "create", self.create, methods=["POST"])
        return blueprint

    async def create(self) -> EngineResponse:
        """POST /images/create (ImageCreate)."""
        request = current_request()
        if request.query.text("fromImage"):
            return self._pull()
        return answer_import(request, self._compose)

    async def commit(self) -> EngineResponse:
        """POST /commit (ImageCommit)."""
        query = current_request().query
        reference = wanted_reference(query.text("repo"), query.text("tag"))
        config = await read_json(ContainerConfig)
        image_id = await self._containers.committer.commit(
            self._containers.find(query.text("container")),
            CommitRequest(
                reference=reference,
                author=query.text("author"),
                comment=query.text("comment"),
                pause=query.boolean("pause", default=True),
                changes=query.values("changes"),
                config=config,
            ),
        )
        return EngineResponse(encode({"Id": image_id}), CREATED)
