"""The engine's parts, each made once and handed what it needs; who supervises them is `daemon`'s.

No part looks another one up. What must survive a restart of a part is its object, made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from services.api.front import DeferredApp
from services.api.listeners import Listeners
from services.build import BuildContexts, Builder
from services.containerd import Containerd, EventEnvelope, Process
from services.containerd.ahead import Ahead
from services.containers import ContainerTable
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.containers.containers import Containers
from services.containers.groups import Groups
from services.containers.journal import MIGRATIONS
from services.containers.log_budget import LogBudget
from services.containers.oom import OomKills
from services.containers.reconcile import Reconciler
from services.containers.restore import TASK_TOPICS, Restorer
from services.containers.running import Running
from services.containers.volume_points import uses_of
from services.events import MIGRATION as EVENTS_MIGRATION
from services.events import EventBus, EventStream
from services.images import ImageId, Images, ImageUse
from services.networks import MIGRATION as NETWORKS_MIGRATION
from services.networks import Firewall, Networks, UserlandProxy
from services.networks.dns import Dns, NameBook
from services.observer import Observer, build_observer
from services.registry import Registry
from services.store import Store
from services.system import HostFacts
from services.volumes import MIGRATION as VOLUMES_MIGRATION
from services.volumes import Volumes

from .api_parts import build_api
from .api_servers import ApiServers
from .audit_parts import build_audit
from .cluster_parts import ClusterSources, LazyCluster
from .container_parts import build_containers
from .container_sources import ContainerSources
from .in_force import Current
from .logs import LogSink
from .metrics_face import MetricsFace
from .metrics_parts import LazyMetrics, MetricsSources
from .network_parts import build_networks
from .notify import Notifier
from .observer_face import ObserverFace
from .own_containerd import containerd_config
from .part_restarts import PartRestarts
from .reload_parts import build_reloader
from .reloading.reloader import Reloader
from .reloading.steps import Changer
from .reports import TreeReports
from .settings import Settings
from .sources import SNAPSHOTTER, RouteSources
from .version import VERSION

VOLUME_THREADS: Final = 4
BUILD_THREADS: Final = 16  # a copy holds two, and a stage may wait for another's


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part that is somebody's child, or that a face of the engine speaks to."""

    engine_id: str
    current: Current
    listeners: Listeners
    containerd_process: Process | None
    containerd: Containerd
    store: Store
    bus: EventBus
    event_stream: EventStream[EventEnvelope]
    images: Images
    firewall: Firewall | None
    proxy: UserlandProxy | None
    networks: Networks
    dns: Dns
    registry: Registry
    builder: Builder
    volumes: Volumes
    apparmor: AppArmor
    running: Running
    restorer: Restorer
    reconciler: Reconciler
    oom_kills: OomKills
    groups: Groups
    cluster: LazyCluster
    log_budget: LogBudget
    containers: Containers
    routes: DeferredApp
    api: ApiServers
    metrics: MetricsFace
    observer: Observer
    observer_face: ObserverFace
    restarts: PartRestarts
    reloader: Reloader


def build_parts(
    current: Current,
    *,
    facts: HostFacts,
    engine_id: str,
    read_settings: Callable[[], Settings],
    ahead: Ahead | None,
    sink: LogSink,
    notifier: Notifier,
    reports: TreeReports,
    environment: Mapping[str, str],
    is_ending: Callable[[], bool],
) -> Parts:
    """Make the parts; starts nothing.

    `ahead`: a containerd that was started already. `read_settings` blocks and reads the
    configuration anew, for reloads. `is_ending`: whether the daemon as a whole is asked to end, and
    not a part to restart.

    Raises:
        InvalidHostError: systemd passed no socket for an fd:// host.
    """
    settings = current.settings()
    process = _containerd_process(settings, ahead)
    address = process.address if process else settings.containerd.address
    assert address is not None
    containerd = Containerd(address, settings.containerd.namespace, snapshotter=SNAPSHOTTER)
    migrations = (EVENTS_MIGRATION, VOLUMES_MIGRATION, NETWORKS_MIGRATION, *MIGRATIONS)
    store = Store(settings.data_root / "wharfinger.db", migrations=migrations)
    bus = EventBus(store)
    table = ContainerTable()
    images = Images(
        containerd=containerd,
        events=bus,
        snapshotter=SNAPSHOTTER,
        in_use=lambda image_id: _users_of(table, image_id),
    )
    registry = Registry(
        containerd=containerd,
        images=images,
        settings=lambda: current.settings().registry,
        user_agent=f"Wharfinger/{VERSION}",
        is_ending=is_ending,
    )
    net = build_networks(
        current,
        store=store,
        bus=bus,
        table=table,
        engine_id=engine_id,
        ends_containers=lambda: is_ending() and not current.settings().live_restore,
    )
    networks = net.networks
    names = NameBook()
    dns = Dns(names)
    volumes = Volumes(
        store=store,
        events=bus,
        root=settings.data_root / "volumes",
        uses=lambda: uses_of(table),
        disk=trio.CapacityLimiter(VOLUME_THREADS),
    )
    apparmor = AppArmor(is_enabled=facts.apparmor)
    cdi = CdiDevices(lambda: current.settings().containers.cdi_directories)
    ours = build_containers(
        ContainerSources(
            settings=settings,
            facts=facts,
            engine_id=engine_id,
            current=current,
            containerd=containerd,
            store=store,
            bus=bus,
            table=table,
            images=images,
            networks=networks,
            sandboxes=net.sandboxes,
            dns=dns,
            volumes=volumes,
            apparmor=apparmor,
            cdi=cdi,
            is_ending=is_ending,
        )
    )
    containers, restorer = ours.containers, ours.restorer
    cluster = LazyCluster(
        ClusterSources(
            current=current,
            facts=facts,
            containers=containers,
            images=images,
            registry=registry,
            networks=networks,
            sandboxes=net.sandboxes,
            publishing=net.publishing,
            names=names,
            bus=bus,
            ends_containers=lambda: is_ending() and not current.settings().live_restore,
        )
    )
    build_disk = trio.CapacityLimiter(BUILD_THREADS)
    builder = Builder(
        containers=containers,
        images=images,
        contexts=BuildContexts(settings.data_root / "build", disk=build_disk),
        disk=build_disk,
    )

    def route_sources() -> RouteSources:
        return sources

    api = build_api(
        current,
        environment=environment,
        containers=containers,
        swarm_role=lambda: cluster.role_word,
        route_sources=route_sources,
    )
    observer = build_observer(reports, table)
    lazy_metrics = LazyMetrics(
        MetricsSources(
            facts=facts,
            engine_id=engine_id,
            containers=containers,
            log_budget=ours.log_budget,
            containerd=containerd,
            store=store,
            bus=bus,
            images=images,
            sandboxes=net.sandboxes,
            registry=registry,
            builder=builder,
            observer=observer,
            tree=reports,
            api=api.measures,
        )
    )
    metrics = MetricsFace(lazy_metrics, settings.metrics_address)
    observer_face = ObserverFace(api.gates.app_for, settings.observer)
    restarts = PartRestarts()
    reloader = build_reloader(
        changer=Changer(
            current=current,
            listeners=api.listeners,
            api=api.servers,
            gates=api.gates,
            metrics=metrics,
            observer=observer_face,
            restarts=restarts,
            identity=api.identity,
            sink=sink,
        ),
        facts=facts,
        engine_id=engine_id,
        bus=bus,
        notifier=notifier,
        read=read_settings,
    )
    sources = RouteSources(
        current=current,
        facts=facts,
        engine_id=engine_id,
        containerd=containerd,
        bus=bus,
        images=images,
        containers=containers,
        networks=networks,
        registry=registry,
        builder=builder,
        volumes=volumes,
        apparmor=apparmor,
        cdi=cdi,
        in_use=lambda image_id: _users_of(table, image_id),
        identity=api.identity,
        reload=reloader.reload,
        audit=build_audit(
            settings,
            engine_id=engine_id,
            containerd=containerd,
            store=store,
            images=images,
            volumes=volumes,
            networks=net,
            containers=ours,
            cluster=cluster,
        ),
        firewall_warnings=lambda: net.firewall.warnings if net.firewall else (),
        reload_warnings=lambda: reloader.warnings,
        log_warnings=lambda: ours.log_budget.warnings,
        observer=observer,
        metrics=lazy_metrics.render,
        cluster=cluster,
    )
    return Parts(
        engine_id=engine_id,
        current=current,
        listeners=api.listeners,
        containerd_process=process,
        containerd=containerd,
        store=store,
        bus=bus,
        event_stream=EventStream(
            containerd.events,
            containerd.connection,
            restorer,
            namespace=settings.containerd.namespace,
            topics=TASK_TOPICS,
        ),
        images=images,
        firewall=net.firewall,
        proxy=net.proxy,
        networks=networks,
        dns=dns,
        registry=registry,
        builder=builder,
        volumes=volumes,
        apparmor=apparmor,
        running=ours.running,
        restorer=restorer,
        reconciler=ours.reconciler,
        oom_kills=ours.oom_kills,
        groups=ours.groups,
        cluster=cluster,
        log_budget=ours.log_budget,
        containers=containers,
        routes=api.routes,
        metrics=metrics,
        observer=observer,
        observer_face=observer_face,
        api=api.servers,
        restarts=restarts,
        reloader=reloader,
    )


def _containerd_process(settings: Settings, ahead: Ahead | None) -> Process | None:
    config = containerd_config(settings)
    return Process(config, ahead=ahead) if config is not None else None


def _users_of(table: ContainerTable, image_id: ImageId) -> list[ImageUse]:
    return [
        ImageUse(
            container_id=c.id,
            is_running=c.is_running,
            image=c.definition.config.image,
            manifest=c.definition.image_manifest.digest if c.definition.image_manifest else "",
        )
        for c in table
        if c.definition.image_id == image_id
    ]
