"""What the API's routes are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.api.cluster_face import ClusterFace
from services.api.wire.identity import Identity
from services.build import Builder
from services.containers.containers import Containers
from services.observer import Observer
from supervisor.engine.ground import GroundParts

if TYPE_CHECKING:
    from services.api.routes.reload import Reload
    from services.audit import Audit
    from services.observer.scrape import RenderMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSources:
    """The services that routes speak to."""

    ground: GroundParts
    containers: Containers
    builder: Builder
    identity: Identity
    reload: Reload
    audit: Callable[[], Audit]
    firewall_warnings: Callable[[], tuple[str, ...]]
    reload_warnings: Callable[[], tuple[str, ...]]
    log_warnings: Callable[[], tuple[str, ...]]
    observer: Observer
    metrics: RenderMetrics
    cluster: ClusterFace
