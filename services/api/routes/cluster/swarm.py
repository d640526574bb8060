"""Tag Swarm of the Engine API."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from services.api.cluster_face import ClusterFace
from services.api.routes.cluster.requests import (
    answer,
    body_of,
    current_request,
    nothing,
    truth_of,
    version_of,
)
from services.api.types.cluster.swarm import swarm_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.responses import EngineResponse
from services.cluster.model.swarm_spec import SwarmSpec
from services.cluster.requests import (
    InitRequest,
    JoinRequest,
    Rotations,
    UnlockRequest,
    checked_init,
    checked_join,
)

POOLS_SINCE: Final = ApiVersion(1, 39)
DATA_PATH_PORT_SINCE: Final = ApiVersion(1, 40)


class Routes:
    """The operations on the cluster, and on this node's part in it."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    async def inspect(self) -> EngineResponse:
        """GET /swarm (SwarmInspect)."""
        swarm = self._face.control().swarm
        return answer(swarm_to_wire(swarm.get(), swarm.join_tokens()))

    async def init(self) -> EngineResponse:
        """POST /swarm/init (SwarmInit)."""
        request = await body_of(InitRequest)
        version = current_request().api_version
        if version < POOLS_SINCE:
            request = replace(request, default_addr_pool=[], subnet_size=0)
        if version < DATA_PATH_PORT_SINCE:
            request = replace(request, data_path_port=0)
        return answer(await self._face.init(checked_init(request)))

    async def join(self) -> EngineResponse:
        """POST /swarm/join (SwarmJoin)."""
        await self._face.join(checked_join(await body_of(JoinRequest)))
        return nothing()

    async def leave(self) -> EngineResponse:
        """POST /swarm/leave (SwarmLeave)."""
        await self._face.leave(force=current_request().query.boolean("force"))
        return nothing()

    async def update(self) -> EngineResponse:
        """POST /swarm/update (SwarmUpdate)."""
        spec = await body_of(SwarmSpec)
        request = current_request()
        version, query = version_of(request, "swarm"), request.query
        rotations = Rotations(
            worker_token=truth_of(query, "rotateWorkerToken"),
            manager_token=truth_of(query, "rotateManagerToken"),
            unlock_key=truth_of(query, "rotateManagerUnlockKey"),
        )
        await self._face.control().swarm.update(version, spec, rotations)
        return nothing()

    async def unlock_key(self) -> EngineResponse:
        """GET /swarm/unlockkey (SwarmUnlockkey)."""
        return answer({"UnlockKey": self._face.control().swarm.unlock_key()})

    async def unlock(self) -> EngineResponse:
        """POST /swarm/unlock (SwarmUnlock)."""
        await self._face.unlock((await body_of(UnlockRequest)).unlock_key)
        return nothing()
