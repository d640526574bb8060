"""What the API's routes are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.api.cluster_face import ClusterFace
from services.api.identity import Identity
from services.build import Builder
from services.containerd import Containerd
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.containers.containers import Containers
from services.events import EventBus
from services.images import ImageId, Images, ImageUse
from services.networks import Networks
from services.observer import Observer
from services.observer.scrape import RenderMetrics
from services.registry import Registry
from services.system import HostFacts
from services.volumes import Volumes

from .in_force import Current

if TYPE_CHECKING:
    from services.api.routes.reload import Reload
    from services.audit import Audit

SNAPSHOTTER: Final = "overlayfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSources:
    """The services that routes speak to.

    `current` is asked for each answer: a reload changes it.
    """

    current: Current
    facts: HostFacts
    engine_id: str
    containerd: Containerd
    bus: EventBus
    images: Images
    networks: Networks
    registry: Registry
    builder: Builder
    volumes: Volumes
    apparmor: AppArmor
    cdi: CdiDevices
    containers: Containers
    in_use: Callable[[ImageId], Sequence[ImageUse]]
    identity: Identity
    reload: Reload
    audit: Callable[[], Audit]
    firewall_warnings: Callable[[], tuple[str, ...]]
    reload_warnings: Callable[[], tuple[str, ...]]
    log_warnings: Callable[[], tuple[str, ...]]
    observer: Observer
    metrics: RenderMetrics
    cluster: ClusterFace
