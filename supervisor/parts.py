"""The engine's parts, each made once and handed what it needs; who supervises them is `daemon`'s.

No part looks another one up. What must survive a restart of a part is its object, made here.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from services.api.asgi import ASGIApp
from services.api.fast import FastRoutes
from services.api.front import DeferredApp, Front
from services.api.identity import AppConfig
from services.api.listeners import Listeners
from services.api.server import ApiServer, ServerConfig
from services.api.systemd import ActivatedSockets
from services.api.tls import TLSConfig, server_context
from services.build import BuildContexts, Builder
from services.containerd import Containerd, EventEnvelope, Process, ProcessConfig
from services.containers import ContainerTable
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.containers.containers import Containers
from services.containers.journal import MIGRATIONS
from services.containers.oom import OomKills
from services.containers.reconcile import Reconciler
from services.containers.restore import TASK_TOPICS, Restorer
from services.containers.running import Running
from services.containers.volume_points import uses_of
from services.events import MIGRATION as EVENTS_MIGRATION
from services.events import EventBus, EventStream
from services.images import ImageId, Images, ImageUse
from services.networks import BridgeConfig, Firewall, Networks
from services.registry import Registry
from services.store import Store
from services.system import HostFacts
from services.volumes import MIGRATION as VOLUMES_MIGRATION
from services.volumes import Volumes

from .container_parts import build_containers, spec_defaults
from .otp import stop_request
from .reports import TreeReports
from .settings import Settings
from .sources import SNAPSHOTTER, RouteSources
from .version import VERSION

if TYPE_CHECKING:
    from .metrics_parts import MetricsParts

API_DRAIN_S: Final = 5.0
VOLUME_THREADS: Final = 4
BUILD_THREADS: Final = 16  # a copy holds two, and a stage may wait for another's


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part that is somebody's child, or that a face of the engine speaks to."""

    engine_id: str
    listeners: Listeners
    containerd_process: Process | None
    containerd: Containerd
    store: Store
    bus: EventBus
    event_stream: EventStream[EventEnvelope]
    images: Images
    firewall: Firewall | None
    networks: Networks
    registry: Registry
    builder: Builder
    volumes: Volumes
    apparmor: AppArmor
    running: Running
    restorer: Restorer
    reconciler: Reconciler
    oom_kills: OomKills
    containers: Containers
    routes: DeferredApp
    api_servers: tuple[ApiServer, ...]
    metrics: MetricsParts | None


def build_parts(
    settings: Settings,
    *,
    facts: HostFacts,
    engine_id: str,
    current_settings: Callable[[], Settings],
    reports: TreeReports,
    environment: Mapping[str, str],
    is_ending: Callable[[], bool],
) -> Parts:
    """Make the parts. Reads certificates and seccomp profiles; starts nothing.

    `is_ending`: whether the daemon as a whole is asked to end, and not a part to restart.

    Raises:
        ConfigError, OSError: a file that the settings name cannot be used.
    """
    process = _containerd_process(settings)
    address = process.address if process else settings.containerd.address
    assert address is not None
    containerd = Containerd(address, settings.containerd.namespace, snapshotter=SNAPSHOTTER)
    migrations = (EVENTS_MIGRATION, VOLUMES_MIGRATION, *MIGRATIONS)
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
        settings=lambda: current_settings().registry,
        user_agent=f"Wharfinger/{VERSION}",
        is_ending=is_ending,
    )
    bridge = _bridge(settings)
    has_firewall = bridge is not None and bridge.firewall
    firewall = Firewall(table=f"wharfinger-{bridge.name}") if bridge and has_firewall else None
    networks = Networks(
        bridge=bridge,
        firewall=firewall,
        netns_directory=settings.exec_root / "netns",
        engine_id=engine_id,
    )
    volumes = Volumes(
        store=store,
        events=bus,
        root=settings.data_root / "volumes",
        uses=lambda: uses_of(table),
        disk=trio.CapacityLimiter(VOLUME_THREADS),
    )
    apparmor = AppArmor(is_enabled=facts.apparmor)
    cdi = CdiDevices(settings.containers.cdi_directories)
    defaults = spec_defaults(settings, facts)
    ours = build_containers(
        settings,
        defaults=defaults,
        facts=facts,
        engine_id=engine_id,
        current_settings=current_settings,
        containerd=containerd,
        store=store,
        bus=bus,
        table=table,
        images=images,
        networks=networks,
        volumes=volumes,
        apparmor=apparmor,
        cdi=cdi,
        is_ending=is_ending,
    )
    containers, restorer = ours.containers, ours.restorer
    build_disk = trio.CapacityLimiter(BUILD_THREADS)
    builder = Builder(
        containers=containers,
        images=images,
        contexts=BuildContexts(settings.data_root / "build", disk=build_disk),
        disk=build_disk,
    )
    listeners = _listeners(settings, environment)
    app_config = AppConfig(engine_version=VERSION, experimental=settings.experimental)
    sources = RouteSources(
        settings=current_settings,
        facts=facts,
        engine_id=engine_id,
        defaults=defaults,
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
        hosts=settings.api.hosts,
        app_config=app_config,
    )
    fast = FastRoutes(app_config)
    routes = DeferredApp(partial(_build_routes, sources, fast))
    front = Front(routes, fast)
    return Parts(
        engine_id=engine_id,
        listeners=listeners,
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
        firewall=firewall,
        networks=networks,
        registry=registry,
        builder=builder,
        volumes=volumes,
        apparmor=apparmor,
        running=ours.running,
        restorer=restorer,
        reconciler=ours.reconciler,
        oom_kills=ours.oom_kills,
        containers=containers,
        routes=routes,
        metrics=_metrics(
            settings,
            facts=facts,
            engine_id=engine_id,
            containers=containers,
            events=bus,
            reports=reports,
        ),
        api_servers=tuple(
            ApiServer(
                front, listener, config=ServerConfig(drain_s=API_DRAIN_S), stop_request=stop_request
            )
            for listener in listeners.listeners
        ),
    )


def _containerd_process(settings: Settings) -> Process | None:
    """Our own containerd, unless the address of another one is given."""
    if settings.containerd.address is not None:
        return None
    # It tells of every plugin and every shim at `info`.
    level = "debug" if settings.log.debug else "warn"
    return Process(
        ProcessConfig(data_root=settings.data_root, exec_root=settings.exec_root, log_level=level)
    )


def _bridge(settings: Settings) -> BridgeConfig | None:
    network = settings.network
    if network.bridge == "none":
        return None
    return BridgeConfig(
        name=network.bridge or "docker0",
        address=network.bridge_address,
        allowed=network.fixed_cidr,
        gateway=network.gateway,
        mtu=network.mtu,
        masquerade=network.ip_masquerade,
        ip_forward=network.ip_forward,
        firewall=network.firewall,
    )


def _listeners(settings: Settings, environment: Mapping[str, str]) -> Listeners:
    api = settings.api
    return Listeners(
        api.hosts,
        group=api.group,
        tls=_tls(settings),
        tls_verify=api.tls.verify if api.tls else False,
        activated=ActivatedSockets.from_environ(environment, pid=os.getpid()),
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    tls = settings.api.tls
    if tls is None:
        return None
    return server_context(
        TLSConfig(cert=tls.cert_file, key=tls.key_file, ca_cert=tls.ca_file, verify=tls.verify)
    )


def _users_of(table: ContainerTable, image_id: ImageId) -> list[ImageUse]:
    return [
        ImageUse(container_id=c.id, is_running=c.is_running, image=c.definition.config.image)
        for c in table
        if c.definition.image_id == image_id
    ]


def _build_routes(sources: RouteSources, fast: FastRoutes) -> ASGIApp:
    # Imported when the servers already accept: quart takes a fifth of a second.
    from .routes import build_routes_app

    return build_routes_app(sources, fast)


def _metrics(
    settings: Settings,
    *,
    facts: HostFacts,
    engine_id: str,
    containers: Containers,
    events: EventBus,
    reports: TreeReports,
) -> MetricsParts | None:
    if not settings.metrics_address:
        return None
    # Imported when asked for: the Prometheus client brings an HTTP server and a mail library.
    from .metrics_parts import build_metrics

    return build_metrics(
        settings,
        facts=facts,
        engine_id=engine_id,
        containers=containers,
        events=events,
        reports=reports,
    )
