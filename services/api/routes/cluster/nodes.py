"""Tag Node of the Engine API."""

from __future__ import annotations

from services.api.cluster_face import ClusterFace
from services.api.routes.cluster.requests import (
    answer,
    body_of,
    current_request,
    nothing,
    version_of,
)
from services.api.types.cluster.nodes import node_to_wire
from services.api.wire.responses import EngineResponse
from services.cluster.requests import NodeUpdate


class Routes:
    """The operations on nodes."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    async def list(self) -> EngineResponse:
        """GET /nodes (NodeList)."""
        control = self._face.control()
        nodes = control.nodes.list(current_request().query.filters())
        root = control.swarm.get().root_ca.certificate
        return answer([node_to_wire(node, root) for node in nodes])

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /nodes/{id} (NodeInspect)."""
        control = self._face.control()
        root = control.swarm.get().root_ca.certificate
        return answer(node_to_wire(control.nodes.get(ref), root))

    async def update(self, ref: str) -> EngineResponse:
        """POST /nodes/{id}/update (NodeUpdate)."""
        update = await body_of(NodeUpdate)
        version = version_of(current_request(), "node")
        await self._face.control().nodes.update(ref, version, update)
        return nothing()

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /nodes/{id} (NodeDelete)."""
        force = current_request().query.boolean("force")
        await self._face.control().nodes.remove(ref, force=force)
        return nothing()
