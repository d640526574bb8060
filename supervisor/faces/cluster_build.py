"""Makes the node's part in a cluster of the engine's parts. Imported by `cluster` only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio
from loguru import logger

from services.cluster.agent.build import build_agent, drop_files
from services.cluster.agent.description import describe_node, parse_generic_resources
from services.cluster.cluster import Cluster
from services.cluster.control.control import Control
from services.cluster.control.digests import RegistryDigests
from services.cluster.control.ports import Parts
from services.cluster.entering import Disk
from services.cluster.life import LifeConfig, ManagerLife
from services.cluster.local_state import LocalFiles
from services.cluster.model.objects import NodeDescription
from services.cluster.network.face import NodeNetworks
from services.cluster.network.node_network import NodeNetwork
from services.cluster.network.state import NodeNetworkState
from services.cluster.rpc.logs import ClusterLogs
from services.cluster.work import AgentContext
from services.containers import Container
from services.containers.labels import task_id_of
from services.errors import EngineError, NotFound
from services.networks import Networks
from services.networks.model import GATEWAY_BRIDGE
from supervisor.engine.networks import ingress_record
from supervisor.otp import INFINITY, ChildSpec, ChildType
from supervisor.patience import PATIENT
from supervisor.version import VERSION

from .cluster import ClusterSources

CLEAR_LIMIT_S: Final = 15.0
LOG_DRIVERS: Final = ("fluentd", "gelf", "journald", "json-file", "local", "none", "syslog")

log = logger.bind(service="cluster")


def build_cluster(sources: ClusterSources, on_networking: Callable[[NodeNetwork], None]) -> Cluster:
    """Make it; starts nothing. `on_networking` is told of the node's networking, of each life's."""
    settings = sources.ground.current.settings()
    files = LocalFiles(settings.data_root / "swarm")
    disk = Disk(files)
    config = LifeConfig(
        files=files,
        run_folder=settings.exec_root / "swarm",
        work=EngineWork(sources, files, on_networking),
        events=sources.ground.bus,
        on_removed=lambda: cluster.was_removed(),  # noqa: PLW0108 - it is made below
    )
    cluster = Cluster(config, disk, make_control=partial(_control, sources))
    return cluster


def _control(sources: ClusterSources, life: ManagerLife) -> Control:
    return Control(
        Parts(
            store=life.store,
            images=RegistryDigests(sources.ground.registry),
            local_networks=_LocalNetworks(sources.ground.net.networks),
            leadership=life.store,
            logs=ClusterLogs(life.dispatcher, life.keeper, life.store.snapshot),
        )
    )


class _LocalNetworks:
    """The networks of this engine alone."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    async def name_of(self, ref: str) -> str | None:
        """As `LocalNetworks`'s."""
        try:
            return self._networks.find(ref).name
        except EngineError:
            return None


class EngineWork:
    """The agent over the engine's containers, and the node's networking."""

    def __init__(
        self,
        sources: ClusterSources,
        files: LocalFiles,
        on_networking: Callable[[NodeNetwork], None],
    ) -> None:
        self._sources = sources
        self._on_networking = on_networking
        self._files = files
        self._network: NodeNetwork | None = None  # the present life's, or the last one's

    def children(self, context: AgentContext) -> Sequence[ChildSpec]:
        """As `NodeWork`'s."""
        sources = self._sources
        network = self._network = self._node_network()
        self._on_networking(network)
        face = NodeNetworks(
            network,
            node_id=context.state.node_id,
            data_path_addr=context.state.data_path_addr,
        )
        parts = build_agent(
            source=context.source,
            engine=sources.containers,
            added_mounts=sources.containers.added_mounts,
            images=sources.ground.images,
            registries=sources.ground.registry,
            networks=face,
            local_networks=sources.ground.net.networks,
            places=sources.ground.net.sandboxes,
            describe=self._describe,
            directory=self._files.agent,
            exec_root=sources.ground.current.settings().exec_root / "swarm",
            listeners=(*context.listeners, face.learn),
            on_removed=context.on_removed,
        )
        return (
            ChildSpec(id="network", start=network.run, backoff=PATIENT),
            ChildSpec(
                id="agent",
                start=parts.agent.run,
                type=ChildType.SUPERVISOR,
                shutdown_s=INFINITY,
                backoff=PATIENT,
            ),
        )

    async def clear(self) -> None:
        """As `NodeWork`'s."""
        for container in [each for each in self._sources.containers.table if _is_task(each)]:
            try:
                await self._sources.containers.remove(container, force=True, volumes=True)
            except NotFound:
                continue
        await drop_files(self._sources.ground.current.settings().exec_root / "swarm")
        await self._clear_networks()

    async def _clear_networks(self) -> None:
        """Once more the networking is run: to have nothing."""
        network = self._network or self._node_network()
        with trio.move_on_after(CLEAR_LIMIT_S) as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(network.run)
                network.intend(NodeNetworkState(node_id="", data_path_addr=""))
                await network.wait_settled()
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            log.warning("the swarm's networks are still there")

    def _node_network(self) -> NodeNetwork:
        sources = self._sources
        settings = sources.ground.current.settings()
        return NodeNetwork(
            networks=sources.ground.net.networks,
            sandboxes=sources.ground.net.sandboxes,
            publisher=sources.ground.net.publishing,
            names=sources.ground.names,
            overlays=settings.exec_root / "overlays",
            record=ingress_record(settings.exec_root),
            gateway_link=_gateway_link(settings.network.bridge),
            is_ending=sources.ends_containers,
        )

    def _describe(self) -> NodeDescription:
        settings = self._sources.ground.current.settings()
        return describe_node(
            self._sources.ground.facts,
            engine_version=VERSION,
            labels=settings.labels,
            log_drivers=LOG_DRIVERS,
            generic_resources=parse_generic_resources(settings.cluster.generic_resources),
        )


def _is_task(container: Container) -> bool:
    return bool(task_id_of(container.name, container.definition.config.labels))


def _gateway_link(bridge: str | None) -> str:
    """swarm's own name, unless the engine's bridge has one of its own, beside other engines."""
    if bridge in (None, "", "none", "docker0"):
        return GATEWAY_BRIDGE
    return f"{bridge[:12]}_gw"
