"""The audit's checks, and what mends their findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from services.audit import Audit
from services.audit.containers import FolderCheck, MountCheck, SnapshotCheck, TaskCheck
from services.audit.networks import (
    ClusterNetworking,
    FirewallCheck,
    LinkCheck,
    OverlayCheck,
    PortCheck,
)
from services.audit.storage import ImageCheck, LeaseCheck, StoreCheck, VolumeCheck
from services.containers import Container
from services.containers.networking.link_mending import LinkMender
from services.images.leases import LEASE_PREFIX

from .containers import ContainerParts
from .ground import GroundParts

AUDIT_THREADS: Final = 2


def build_audit(
    ground: GroundParts,
    containers: ContainerParts,
    cluster_networking: Callable[[], ClusterNetworking | None],
) -> Audit:
    """Make it. Nothing is looked at before it is asked to.

    `cluster_networking`: of this node, while it is in a cluster.
    """
    containerd, images, volumes = ground.containerd, ground.images, ground.volumes
    networks, sandboxes, firewall = ground.net.networks, ground.net.sandboxes, ground.net.firewall
    table = ground.table
    settings = ground.current.settings()
    exec_root = settings.exec_root
    disk = trio.CapacityLimiter(AUDIT_THREADS)

    def is_lively(container: Container) -> bool:
        return (
            container.is_running or container.is_busy or containers.runs.get(container) is not None
        )

    async def ingests() -> Sequence[str]:
        return [status.ref for status in await containerd.content.statuses()]

    overlays = OverlayCheck(cluster_networking)
    links = LinkMender(table=table, networks=networks, sandboxes=sandboxes)
    return Audit(
        [
            TaskCheck(
                containerd=containerd,
                table=table,
                is_lively=is_lively,
                engine_id=ground.engine_id,
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
                bridges=networks.bridges,
                wanted=sandboxes.bridged_links,
                disk=disk,
            ),
            *([FirewallCheck(firewall.compare)] if firewall is not None else []),
            overlays,
            PortCheck(sandboxes.port_problems, disk=disk),
            VolumeCheck(records=volumes.recorded, directories=volumes.names_on_disk, disk=disk),
            ImageCheck(containerd=containerd),
            LeaseCheck(
                containerd=containerd,
                prefix=LEASE_PREFIX,
                held=lambda: images.held_leases,
                ingests=ingests,
            ),
            StoreCheck(ground.store),
        ],
        mends=[
            containers.restorer.reconcile,
            images.clear_leftovers,
            volumes.mend,
            links.mend,
            sandboxes.mend_ports,
            *([firewall.mend] if firewall is not None else []),
            overlays.mend,
        ],
    )
