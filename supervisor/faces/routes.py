"""The API's routes, made from the services. Imports quart, and is therefore imported late."""

from __future__ import annotations

import os
from functools import partial

import trio
from quart import Blueprint

from services.api.components import Components
from services.api.front.app import build_routes
from services.api.front.fast import FastRoutes
from services.api.http.asgi import ASGIApp
from services.api.routes.absent import absent_blueprint
from services.api.routes.audit import AuditRoutes
from services.api.routes.build import BuildRoutes
from services.api.routes.buildkit import BuildKitRoutes, LazyBuildKit
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
from services.build import CachePruner, KeptSteps
from services.buildkit import BuildKit
from services.containers.volume_points import uses_of
from services.images.usage import LayerSizes, measure_images
from services.observer.page import Page
from supervisor.configuration.features import has_buildkit
from supervisor.engine.ground import SNAPSHOTTER

from .engine_info import engine_info
from .quick_routes import QuickRoutes
from .route_sources import RouteSources


def build_routes_app(sources: RouteSources, fast: FastRoutes, quick: QuickRoutes) -> ASGIApp:
    """The app behind the front: every operation that the engine offers, and 501 for the others.

    What is answered without waiting goes into `fast` as well, where `quick` stands already.
    """
    buildkit = LazyBuildKit(
        partial(_buildkit, sources),
        is_switched_off=lambda: not has_buildkit(sources.ground.current.settings().features),
    )
    return build_routes(
        [
            *served_blueprints(sources, fast, quick, buildkit),
            *own_blueprints(sources),
            BuildKitRoutes(buildkit).own_blueprint(),
            unsupported_blueprint(),
        ],
        identity=sources.identity,
    )


def served_blueprints(
    sources: RouteSources, fast: FastRoutes, quick: QuickRoutes, buildkit: LazyBuildKit
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
            sources.builder, ground.registry, _cache_pruner(sources, layers), buildkit
        ).blueprint(),
        BuildKitRoutes(buildkit).blueprint(),
        absent_blueprint(),
    ]


def _buildkit(sources: RouteSources) -> BuildKit:
    # Imported with the first client that speaks it.
    from .buildkit import build_buildkit

    layers = LayerSizes(sources.ground.containerd.snapshots)
    return build_buildkit(sources, _cache_pruner(sources, layers))


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
        caches=sources.builder.caches.usage,
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


def _cache_pruner(sources: RouteSources, layers: LayerSizes) -> CachePruner:
    images = sources.ground.images

    async def look() -> KeptSteps:
        """What steps take is what images take less without them."""
        everything = await images.everything()
        named = [image for image in everything if not image.is_hidden]
        together = await measure_images(everything, [False] * len(everything), layers)
        of_named = await measure_images(named, [False] * len(named), layers)
        return KeptSteps(
            size_bytes=together.total_bytes - of_named.total_bytes,
            layers={image.id: image.diff_ids for image in everything},
        )

    async def free_bytes() -> int:
        data_root = sources.ground.current.settings().data_root
        status = await trio.to_thread.run_sync(os.statvfs, data_root)
        return status.f_bavail * status.f_frsize

    return CachePruner(
        steps=images.steps,
        caches=sources.builder.caches,
        in_use=lambda: {
            *(c.definition.image_id for c in sources.containers.table),
            *sources.builder.in_use(),
        },
        look=look,
        free_bytes=free_bytes,
    )
