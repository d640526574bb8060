"""The node's part in a cluster, made when it is first needed: an engine in none imports none of it.

It is needed when the folder of a cluster is there, or when a client begins or joins one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio
from msgspec.structs import replace

from services.api.cluster_face import OutsideSwarm
from services.containers.containers import Containers
from supervisor.engine.ground import GroundParts

if TYPE_CHECKING:
    from services.audit.networks import ClusterNetworking
    from services.cluster.cluster import Cluster
    from services.cluster.control.control import Control
    from services.cluster.info import SwarmInfo
    from services.cluster.requests import InitRequest, JoinRequest

    RequestT = TypeVar("RequestT", InitRequest, JoinRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSources:
    """The parts of the engine that a cluster's node is made from.

    `ends_containers`: whether the daemon as a whole is asked to end, and containers with it.
    """

    ground: GroundParts
    containers: Containers
    ends_containers: Callable[[], bool]


class LazyCluster:
    """The API's `ClusterFace`. `run` is a supervised child."""

    def __init__(self, sources: ClusterSources) -> None:
        self._sources = sources
        self._folder = sources.ground.current.settings().data_root / "swarm"
        self._outside = OutsideSwarm()
        self._cluster: Cluster | None = None
        self._is_wanted = trio.Event()
        self._making = trio.Lock()
        self.networking: ClusterNetworking | None = None  # the node's, while it is in a cluster

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait until there is a cluster to be part of; then be part of it, until cancelled."""
        if await trio.to_thread.run_sync(self._folder.exists):
            await self._wanted()
        else:
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await self._is_wanted.wait()
        assert self._cluster is not None
        await self._cluster.run(task_status=task_status)

    @property
    def is_active(self) -> bool:
        """As `ClusterFace`'s."""
        return self._cluster is not None and self._cluster.is_active

    @property
    def role_word(self) -> str:
        """As `ClusterFace`'s."""
        return "inactive" if self._cluster is None else self._cluster.role_word

    def control(self) -> Control:
        """As `ClusterFace`'s."""
        return self._outside.control() if self._cluster is None else self._cluster.control()

    def info(self) -> SwarmInfo | None:
        """As `ClusterFace`'s."""
        return None if self._cluster is None else self._cluster.info()

    async def init(self, request: InitRequest) -> str:
        """As `ClusterFace`'s."""
        return await (await self._wanted()).init(self._announced(request))

    async def join(self, request: JoinRequest) -> None:
        """As `ClusterFace`'s."""
        await (await self._wanted()).join(self._announced(request))

    async def leave(self, *, force: bool) -> None:
        """As `ClusterFace`'s."""
        await (self._cluster or self._outside).leave(force=force)

    async def unlock(self, key: str) -> None:
        """As `ClusterFace`'s."""
        await (self._cluster or self._outside).unlock(key)

    def _announced(self, request: RequestT) -> RequestT:
        """With the address that the daemon is to announce, if the client does not say."""
        default = self._sources.ground.current.settings().cluster.advertise_addr
        return replace(request, advertise_addr=request.advertise_addr or default)

    def _know_networking(self, networking: ClusterNetworking) -> None:
        self.networking = networking

    async def _wanted(self) -> Cluster:
        async with self._making:
            if self._cluster is None:
                # In a thread: it takes a fifth of a second, and others are being answered.
                module = await trio.to_thread.run_sync(
                    importlib.import_module, "supervisor.faces.cluster_build"
                )
                self._cluster = module.build_cluster(self._sources, self._know_networking)
                self._is_wanted.set()
            assert self._cluster is not None
            return self._cluster
