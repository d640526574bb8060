"""The answers that need no quart, made before it is imported; its routes share what they are of."""

from __future__ import annotations

from dataclasses import dataclass

from services.api.front.container_images import ContainerImages
from services.api.front.container_list import ContainerList
from services.api.front.fast import FastRoutes
from services.api.front.quick_containers import QuickContainers

from .route_sources import RouteSources


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRoutes:
    """What is answered at once, and what the answers are made of."""

    containers: QuickContainers
    listing: ContainerList
    images: ContainerImages


def build_quick_routes(sources: RouteSources, fast: FastRoutes) -> QuickRoutes:
    """Make them and enter them into the table."""
    connection = sources.ground.containerd.connection
    listing = ContainerList(sources.containers.table)
    images = ContainerImages(sources.ground.images, can_ask=lambda: connection.is_ready)
    containers = QuickContainers(
        sources.containers,
        listing=listing,
        images=images,
        has_apparmor=sources.ground.facts.apparmor,
    )
    containers.add_to(fast)
    return QuickRoutes(containers=containers, listing=listing, images=images)
