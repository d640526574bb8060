"""The API's routes, made from the services. Imports quart, and is therefore imported late."""

from __future__ import annotations

import platform
from functools import partial

from quart import Blueprint

from services.api.components import Components
from services.api.front.app import build_routes
from services.api.front.fast import FastRoutes
from services.api.http.asgi import ASGIApp
from services.api.listening.hosts import TcpHost
from services.api.routes.absent import absent_blueprint
from services.api.routes.audit import AuditRoutes
from services.api.routes.build import BuildRoutes
from services.api.routes.cluster_modules import ClusterModules
from services.api.routes.container_files import ContainerFileRoutes
from services.api.routes.container_stats import ContainerStatsRoutes
from services.api.routes.container_streams import ContainerStreamRoutes
from services.api.routes.containers import ContainerRoutes
from services.api.routes.disk_usage import DiskUsageRoutes
from services.api.routes.exec import ExecRoutes
from services.api.routes.image_making import ImageMakingRoutes
from services.api.routes.images import ImageRoutes
from services.api.routes.networks import NetworkRoutes
from services.api.routes.observer import ObserverRoutes
from services.api.routes.registry import RegistryRoutes
from services.api.routes.reload import ReloadRoutes
from services.api.routes.swarm_mode import SwarmModeRoutes
from services.api.routes.system import SystemRoutes
from services.api.routes.unsupported import unsupported_blueprint
from services.api.routes.volumes import VolumeRoutes
from services.api.types.engine_info import EngineInfo, KnownRegistries, OpenHost
from services.build import BuildPruneFilters, PrunedSteps, prune_steps
from services.containers.volume_points import uses_of
from services.images.usage import LayerSizes, measure_images
from services.observer.page import Page
from services.registry import RegistrySettings
from services.registry.proxies import masked
from supervisor.engine.ground import SNAPSHOTTER
from supervisor.version import VERSION, build_id

from .quick_routes import QuickRoutes
from .route_sources import RouteSources


def build_routes_app(sources: RouteSources, fast: FastRoutes, quick: QuickRoutes) -> ASGIApp:
    """The app behind the front: every operation that the engine offers, and 501 for the others.

    What is answered without waiting goes into `fast` as well, where `quick` stands already.
    """
    return build_routes(
        [
            *served_blueprints(sources, fast, quick),
            *own_blueprints(sources),
            unsupported_blueprint(),
        ],
        identity=sources.identity,
    )


def served_blueprints(
    sources: RouteSources, fast: FastRoutes, quick: QuickRoutes
) -> list[Blueprint]:
    """The routes of all operations that the engine offers."""
    ground, containers = sources.ground, sources.containers
    cluster = ClusterModules(sources.cluster)
    registry = RegistryRoutes(ground.registry)
    layers = LayerSizes(ground.containerd.snapshots)
    images = ImageRoutes(
        ground.images,
        snapshots=layers,
        in_use=ground.users_of,
        snapshotter=SNAPSHOTTER,
        drop_leftovers=ground.registry.drop_leftovers,
    )
    networks = NetworkRoutes(ground.net.networks, containers, cluster)
    exec_routes = ExecRoutes(containers)
    container_routes = ContainerRoutes(
        containers,
        quick=quick.containers,
        listing=quick.listing,
        images=quick.images,
        facts=ground.facts,
        default_network=ground.net.networks.default_mode,
    )
    exec_routes.add_fast(fast)
    return [
        _system(sources, cluster).blueprint(),
        images.blueprint(),
        registry.blueprint(),
        ImageMakingRoutes(containers, ground.images.compose, pull=registry.pull).blueprint(),
        container_routes.blueprint(),
        ContainerStreamRoutes(containers).blueprint(),
        ContainerStatsRoutes(containers).blueprint(),
        ContainerFileRoutes(containers).blueprint(),
        exec_routes.blueprint(),
        networks.blueprint(),
        SwarmModeRoutes(cluster).blueprint(),
        VolumeRoutes(ground.volumes).blueprint(),
        _disk_usage(sources, layers, quick).blueprint(),
        BuildRoutes(
            sources.builder, ground.registry, partial(_prune_steps, sources, layers)
        ).blueprint(),
        absent_blueprint(),
    ]


def _system(sources: RouteSources, cluster: ClusterModules) -> SystemRoutes:
    ground = sources.ground
    return SystemRoutes(
        engine=lambda: engine_info(sources),
        components=Components(
            containerd=ground.containerd.version,
            runc="runc",
            init=lambda: ground.current.defaults().init_path,
        ),
        containers=sources.containers,
        images=ground.images,
        events=ground.bus,
        warnings=lambda: (
            *ground.apparmor.warnings,
            *sources.firewall_warnings(),
            *sources.reload_warnings(),
            *sources.log_warnings(),
        ),
        devices=ground.cdi.list,
        cluster=cluster,
    )


def _disk_usage(sources: RouteSources, layers: LayerSizes, quick: QuickRoutes) -> DiskUsageRoutes:
    ground = sources.ground
    return DiskUsageRoutes(
        images=ground.images,
        layers=layers,
        in_use=ground.users_of,
        containers=sources.containers,
        listing=quick.listing,
        image_names=quick.images,
        steps=ground.images.steps.list,
        volumes=ground.volumes,
        volume_uses=lambda: uses_of(sources.containers.table),
    )


def own_blueprints(sources: RouteSources) -> list[Blueprint]:
    """The routes of the engine's own API, beside Docker's."""
    return [
        ReloadRoutes(sources.reload).blueprint(),
        AuditRoutes(sources.audit().run).blueprint(),
        ObserverRoutes(
            sources.observer, sources.containers, metrics=sources.metrics, page=Page()
        ).blueprint(),
    ]


async def _prune_steps(
    sources: RouteSources, layers: LayerSizes, filters: BuildPruneFilters
) -> PrunedSteps:
    """Delete steps of builds; what they take is what images take less without them."""

    async def all_bytes() -> int:
        images = await sources.ground.images.everything()
        return (await measure_images(images, [False] * len(images), layers)).total_bytes

    return await prune_steps(
        sources.ground.images.steps,
        filters,
        in_use=lambda: {
            *(c.definition.image_id for c in sources.containers.table),
            *sources.builder.in_use(),
        },
        free_bytes=all_bytes,
    )


def _registries(settings: RegistrySettings) -> KnownRegistries:
    return KnownRegistries(
        insecure_networks=tuple(map(str, settings.insecure_networks)),
        insecure_hosts=tuple(sorted(settings.insecure_hosts)),
        mirrors=settings.mirrors,
    )


def engine_info(sources: RouteSources) -> EngineInfo:
    """What the engine says about itself now."""
    ground = sources.ground
    settings, defaults = ground.current.settings(), ground.current.defaults()
    runtimes = {"runc": "runc", "io.containerd.runc.v2": ""}
    runtimes |= {runtime.name: runtime.path for runtime in settings.containers.runtimes}
    tls = settings.api.tls
    return EngineInfo(
        engine_id=ground.engine_id,
        version=VERSION,
        commit=build_id(),
        host=ground.facts,
        data_root=str(settings.data_root),
        language=f"Python {platform.python_version()}",
        debug=settings.log.debug,
        experimental=settings.experimental,
        live_restore=settings.live_restore,
        labels=settings.labels,
        log_driver=settings.containers.log_driver,
        snapshotter=SNAPSHOTTER,
        cgroup_driver=defaults.cgroup_driver,
        runtimes=runtimes,
        default_runtime=defaults.default_runtime,
        init_binary=defaults.init_path.rpartition("/")[2],
        no_new_privileges=defaults.no_new_privileges,
        seccomp_profile=settings.containers.seccomp_profile,
        generic_resources=settings.cluster.generic_resources,
        cdi_directories=ground.cdi.directories,
        containerd_address=str(ground.containerd.address),
        containerd_namespace=ground.containerd.namespace,
        registries=_registries(settings.registry),
        http_proxy=masked(settings.registry.proxies.http_proxy),
        https_proxy=masked(settings.registry.proxies.https_proxy),
        no_proxy=settings.registry.proxies.no_proxy,
        firewall="nftables" if settings.network.firewall else "",
        open_hosts=tuple(
            OpenHost(address=f"{host.host}:{host.port}", is_encrypted=tls is not None)
            for host in settings.api.hosts
            if isinstance(host, TcpHost) and not (tls and tls.verify)
        ),
    )
