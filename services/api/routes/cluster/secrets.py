"""Tag Secret of the Engine API."""

from __future__ import annotations

from services.api.routes.cluster.documents import DocumentRoutes
from services.cluster.control.documents import Documents
from services.cluster.model.objects import Secret
from services.cluster.model.specs import SecretSpec


class Routes(DocumentRoutes):
    """The operations on secrets."""

    word = "secret"
    spec = SecretSpec

    def documents(self) -> Documents[Secret]:
        """All secrets."""
        return self._face.control().secrets
