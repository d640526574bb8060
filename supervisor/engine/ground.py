"""What containers stand on: containerd, the store, images, networks, volumes, devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from services.containerd import Containerd, Process
from services.containerd.ahead import Ahead
from services.containerd.kept_exits import KeptExits
from services.containers import ContainerTable
from services.containers.apparmor import AppArmor
from services.containers.cdi import CdiDevices
from services.containers.journal import MIGRATIONS
from services.containers.volume_points import uses_of
from services.events import MIGRATION as EVENTS_MIGRATION
from services.events import EventBus
from services.images import ImageId, Images, ImageUse
from services.networks import MIGRATION as NETWORKS_MIGRATION
from services.networks.dns import Dns, NameBook
from services.registry import Registry
from services.store import Store
from services.system import HostFacts
from services.volumes import MIGRATION as VOLUMES_MIGRATION
from services.volumes import Volumes
from supervisor.configuration.in_force import Current
from supervisor.configuration.settings import Settings
from supervisor.process.ahead import StartedAhead
from supervisor.process.own_containerd import containerd_config
from supervisor.version import VERSION

from .networks import NetworkParts, build_networks

SNAPSHOTTER: Final = "overlayfs"
VOLUME_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundParts:
    """What of it is somebody's child, or spoken to by others. `current` is asked each time: a
    reload changes it."""

    facts: HostFacts
    engine_id: str
    current: Current
    containerd_process: Process | None
    containerd: Containerd
    store: Store
    bus: EventBus
    table: ContainerTable
    images: Images
    registry: Registry
    net: NetworkParts
    names: NameBook
    dns: Dns
    volumes: Volumes
    apparmor: AppArmor
    cdi: CdiDevices

    def users_of(self, image_id: ImageId) -> list[ImageUse]:
        """The containers that stand on an image."""
        return _users_of(self.table, image_id)


def build_ground(
    current: Current,
    *,
    facts: HostFacts,
    engine_id: str,
    ahead: StartedAhead,
    is_ending: Callable[[], bool],
) -> GroundParts:
    """Make them. `ahead`: what was started already."""
    settings = current.settings()
    kept_exits = KeptExits()
    process = _containerd_process(settings, ahead.containerd, kept_exits)
    address = process.address if process else settings.containerd.address
    assert address is not None
    containerd = Containerd(
        address, settings.containerd.namespace, snapshotter=SNAPSHOTTER, kept_exits=kept_exits
    )
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
        ahead=ahead.firewall,
    )
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
    return GroundParts(
        facts=facts,
        engine_id=engine_id,
        current=current,
        containerd_process=process,
        containerd=containerd,
        store=store,
        bus=bus,
        table=table,
        images=images,
        registry=registry,
        net=net,
        names=names,
        dns=dns,
        volumes=volumes,
        apparmor=apparmor,
        cdi=cdi,
    )


def _containerd_process(
    settings: Settings, ahead: Ahead | None, kept_exits: KeptExits
) -> Process | None:
    config = containerd_config(settings)
    return Process(config, ahead=ahead, kept_exits=kept_exits) if config is not None else None


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
