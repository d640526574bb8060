"""What the containers' parts are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.containerd import Containerd
from services.containers import ContainerTable
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.events import EventBus
from services.images import Images
from services.networks import Networks, Sandboxes
from services.networks.dns import Dns
from services.store import Store
from services.system import HostFacts
from services.volumes import Volumes

from .in_force import Current
from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSources:
    """What the containers' parts are made from.

    `current` is asked each time: a reload changes it. `is_ending`: whether the daemon as a whole is
    asked to end, and not a part to restart.
    """

    settings: Settings
    facts: HostFacts
    engine_id: str
    current: Current
    containerd: Containerd
    store: Store
    bus: EventBus
    table: ContainerTable
    images: Images
    networks: Networks
    sandboxes: Sandboxes
    dns: Dns
    volumes: Volumes
    apparmor: AppArmor
    cdi: CdiDevices
    is_ending: Callable[[], bool]

    @property
    def directory(self) -> Path:
        """Where containers' files lie."""
        return self.settings.data_root / "containers"
