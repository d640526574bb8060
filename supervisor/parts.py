"""The engine's parts, each made once and handed what it needs; who supervises them is `daemon`'s.

No part looks another one up. What must survive a restart of a part is its object, made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.api.front.deferred import DeferredApp
from services.api.listening.listeners import Listeners
from services.build import Builder
from services.containerd import EventEnvelope
from services.containers.containers import Containers
from services.containers.groups import Groups
from services.containers.log_budget import LogBudget
from services.containers.restoring.reconcile import Reconciler
from services.containers.restoring.restore import TASK_TOPICS, Restorer
from services.containers.runs.oom import OomKills
from services.containers.runs.running import Running
from services.events import EventStream
from services.observer import Observer, build_observer
from services.system import HostFacts

from .configuration.in_force import Current
from .configuration.settings import Settings
from .engine.builder import build_builder
from .engine.containers import build_containers
from .engine.ground import GroundParts, build_ground
from .faces.api import build_api
from .faces.api_servers import ApiServers
from .faces.cluster import ClusterSources, LazyCluster
from .faces.metrics import LazyMetrics, MetricsFace, MetricsSources
from .faces.observer import ObserverFace
from .faces.route_sources import RouteSources
from .process.ahead import StartedAhead
from .process.logs import LogSink
from .process.notify import Notifier
from .reloading.build import build_reloader
from .reloading.reloader import Reloader
from .reloading.restarts import PartRestarts
from .reports import TreeReports

if TYPE_CHECKING:
    from services.audit import Audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part that is somebody's child, or that a face of the engine speaks to."""

    ground: GroundParts
    listeners: Listeners
    event_stream: EventStream[EventEnvelope]
    builder: Builder
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
    ahead: StartedAhead,
    sink: LogSink,
    notifier: Notifier,
    reports: TreeReports,
    environment: Mapping[str, str],
    is_ending: Callable[[], bool],
) -> Parts:
    """Make the parts; starts nothing.

    `ahead`: what was started already. `read_settings` blocks and reads the
    configuration anew, for reloads. `is_ending`: whether the daemon as a whole is asked to end, and
    not a part to restart.

    Raises:
        InvalidHostError: systemd passed no socket for an fd:// host.
    """
    settings = current.settings()
    ground = build_ground(
        current, facts=facts, engine_id=engine_id, ahead=ahead, is_ending=is_ending
    )
    net = ground.net
    ours = build_containers(ground, is_ending=is_ending)
    containers, restorer = ours.containers, ours.restorer
    cluster = LazyCluster(
        ClusterSources(
            ground=ground,
            containers=containers,
            ends_containers=lambda: is_ending() and not current.settings().live_restore,
        )
    )
    builder = build_builder(ground, containers)

    def route_sources() -> RouteSources:
        return sources

    def audit() -> Audit:
        from .engine.audit import build_audit

        return build_audit(ground, ours, lambda: cluster.networking)

    api = build_api(
        current,
        environment=environment,
        containers=containers,
        swarm_role=lambda: cluster.role_word,
        route_sources=route_sources,
    )
    observer = build_observer(reports, ground.table)
    lazy_metrics = LazyMetrics(
        MetricsSources(
            ground=ground,
            containers=containers,
            log_budget=ours.log_budget,
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
        ground,
        api,
        metrics=metrics,
        observer=observer_face,
        restarts=restarts,
        sink=sink,
        notifier=notifier,
        read=read_settings,
    )
    sources = RouteSources(
        ground=ground,
        containers=containers,
        builder=builder,
        identity=api.identity,
        reload=reloader.reload,
        audit=audit,
        firewall_warnings=lambda: net.firewall.warnings if net.firewall else (),
        reload_warnings=lambda: reloader.warnings,
        log_warnings=lambda: ours.log_budget.warnings,
        observer=observer,
        metrics=lazy_metrics.render,
        cluster=cluster,
    )
    return Parts(
        ground=ground,
        listeners=api.listeners,
        event_stream=EventStream(
            ground.containerd.events,
            ground.containerd.connection,
            restorer,
            namespace=settings.containerd.namespace,
            topics=TASK_TOPICS,
        ),
        builder=builder,
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
