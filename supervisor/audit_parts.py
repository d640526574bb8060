"""The audit's checks, and what mends their findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from services.audit import Audit
from services.audit.containers import FolderCheck, MountCheck, SnapshotCheck, TaskCheck
from services.audit.networks import FirewallCheck, LinkCheck, OverlayCheck, PortCheck
from services.audit.storage import ImageCheck, LeaseCheck, StoreCheck, VolumeCheck
from services.containerd import Containerd
from services.containers import Container
from services.containers.networking.link_mending import LinkMender
from services.images import Images
from services.images.leases import LEASE_PREFIX
from services.store import Store
from services.volumes import Volumes

from .cluster_parts import LazyCluster
from .container_parts import ContainerParts
from .network_parts import NetworkParts
from .settings import Settings

AUDIT_THREADS: Final = 2


def build_audit(
    settings: Settings,
    *,
    engine_id: str,
    containerd: Containerd,
    store: Store,
    images: Images,
    volumes: Volumes,
    networks: NetworkParts,
    containers: ContainerParts,
    cluster: LazyCluster,
) -> Audit:
    """Make it. Nothing is looked at before it is asked to."""
    table = containers.containers.table
    disk = trio.CapacityLimiter(AUDIT_THREADS)

    def is_lively(container: Container) -> bool:
        return (
            container.is_running or container.is_busy or containers.runs.get(container) is not None
        )

    async def ingests() -> Sequence[str]:
        return [status.ref for status in await containerd.content.statuses()]

    overlays = OverlayCheck(lambda: cluster.networking)
    links = LinkMender(table=table, networks=networks.networks, sandboxes=networks.sandboxes)
    firewall, exec_root = networks.firewall, settings.exec_root
    return Audit(
        [
            TaskCheck(
                containerd=containerd,
                table=table,
                is_lively=is_lively,
                engine_id=engine_id,
                disk=disk,
            ),
            SnapshotCheck(keys=images.rootfs_keys, table=table),
            FolderCheck(
                data=settings.data_root / "containers",
                exec_root=exec_root,
                table=table,
                is_lively=is_lively,
                disk=disk,
            ),
            MountCheck(exec_root=exec_root, table=table, is_lively=is_lively, disk=disk),
            LinkCheck(
                bridges=networks.networks.bridges,
                wanted=networks.sandboxes.bridged_links,
                disk=disk,
            ),
            *([FirewallCheck(firewall.compare)] if firewall is not None else []),
            overlays,
            PortCheck(networks.sandboxes.port_problems, disk=disk),
            VolumeCheck(records=volumes.recorded, directories=volumes.names_on_disk, disk=disk),
            ImageCheck(containerd=containerd),
            LeaseCheck(
                containerd=containerd,
                prefix=LEASE_PREFIX,
                held=lambda: images.held_leases,
                ingests=ingests,
            ),
            StoreCheck(store),
        ],
        mends=[
            containers.restorer.reconcile,
            images.clear_leftovers,
            volumes.mend,
            links.mend,
            networks.sandboxes.mend_ports,
            *([firewall.mend] if firewall is not None else []),
            overlays.mend,
        ],
    )
