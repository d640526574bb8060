"""Tag Config of the Engine API."""

from __future__ import annotations

from services.api.routes.cluster.documents import DocumentRoutes
from services.cluster.control.documents import Documents
from services.cluster.model.objects import Config
from services.cluster.model.specs import ConfigSpec


class Routes(DocumentRoutes):
    """The operations on configs."""

    word = "config"
    spec = ConfigSpec

    def documents(self) -> Documents[Config]:
        """All configs."""
        return self._face.control().configs
