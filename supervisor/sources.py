"""What the API's routes are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.api.hosts import Host
from services.api.identity import AppConfig
from services.build import Builder
from services.containerd import Containerd
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.containers.containers import Containers
from services.containers.spec import SpecDefaults
from services.events import EventBus
from services.images import ImageId, Images, ImageUse
from services.networks import Networks
from services.observer import Observer
from services.observer.scrape import RenderMetrics
from services.registry import Registry
from services.system import HostFacts
from services.volumes import Volumes

from .settings import Settings

SNAPSHOTTER: Final = "overlayfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSources:
    """The services that routes speak to.

    `settings` is called for each answer: a reload changes it.
    """

    settings: Callable[[], Settings]
    facts: HostFacts
    engine_id: str
    defaults: SpecDefaults
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
    hosts: tuple[Host, ...]
    app_config: AppConfig
    observer: Observer
    metrics: RenderMetrics
