"""Secrets and configs: their routes differ in a word."""

from __future__ import annotations

from typing import Any, Final

from services.api.cluster_face import ClusterFace
from services.api.routes.cluster.requests import (
    answer,
    body_of,
    current_request,
    nothing,
)
from services.api.types.cluster.documents import document_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.responses import EngineResponse
from services.cluster.control.documents import Documents
from services.cluster.model.specs import ConfigSpec, SecretSpec
from services.errors import InvalidParameter

TEMPLATING_SINCE: Final = ApiVersion(1, 37)


class DocumentRoutes:
    """The operations on one of the two kinds."""

    word: str
    spec: type[SecretSpec] | type[ConfigSpec]

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    def documents(self) -> Documents[Any]:
        """All of the kind. Raises NotManager."""
        raise NotImplementedError

    async def list(self) -> EngineResponse:
        """GET /secrets (SecretList), GET /configs (ConfigList)."""
        found = self.documents().list(current_request().query.filters())
        return answer([document_to_wire(one) for one in found])

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /secrets/{id} (SecretInspect), GET /configs/{id} (ConfigInspect)."""
        return answer(document_to_wire(self.documents().get(ref)))

    async def create(self) -> EngineResponse:
        """POST /secrets/create (SecretCreate), POST /configs/create (ConfigCreate)."""
        spec = await body_of(self.spec)
        version = current_request().api_version
        if spec.templating is not None and version < TEMPLATING_SINCE:
            raise InvalidParameter(
                f"{self.word} templating is not supported on the specified API version: {version}"
            )
        document = await self.documents().create(spec)
        return answer({"ID": document.id}, 201)

    async def update(self, ref: str) -> EngineResponse:
        """POST /secrets/{id}/update (SecretUpdate), POST /configs/{id}/update (ConfigUpdate)."""
        spec = await body_of(self.spec)
        text = current_request().query.text("version")
        if not (text.isascii() and text.isdigit()):
            raise InvalidParameter(f"invalid {self.word} version")
        await self.documents().update(ref, int(text), spec)
        return nothing()

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /secrets/{id} (SecretDelete), DELETE /configs/{id} (ConfigDelete)."""
        await self.documents().remove(ref)
        return nothing(204)
