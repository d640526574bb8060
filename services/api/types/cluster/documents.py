"""Secrets and configs on the wire. A secret's data never is.

Source: Engine API, schemas Secret, Config.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.wire import meta_to_wire, to_wire
from services.cluster.model.objects import Config, Secret


def document_to_wire(document: Secret | Config) -> dict[str, Any]:
    """One secret, or one config."""
    return {**meta_to_wire(document), "Spec": to_wire(document.spec)}
