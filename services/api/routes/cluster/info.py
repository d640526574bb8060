"""The part of GET /info that is about the swarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.api.cluster_face import ClusterFace
from services.api.types.cluster.swarm import swarm_info_to_wire
from services.api.types.cluster.wire import to_wire
from services.cluster.agent.description import parse_generic_resources
from services.cluster.info import SwarmInfo


class Routes:
    """What the system's routes ask of a node in a swarm."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    def resources_to_wire(self, texts: Sequence[str]) -> list[Any]:
        """The `GenericResources` of GET /info."""
        wire: list[Any] = to_wire(parse_generic_resources(texts))
        return wire

    def to_wire(self, info: SwarmInfo) -> dict[str, Any]:
        """The `Swarm` of GET /info."""
        return swarm_info_to_wire(info)
