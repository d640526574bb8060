"""Root file systems of containers: writable snapshots on top of images' layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from services.containerd.values import Mount
from services.errors import NotFound

from .leases import WorkingLeases
from .model import Image
from .ports import SnapshotClient
from .unpack import Unpacker

LABEL_ROOT: Final = "containerd.io/gc.root"


class RootFilesystems:
    """Makes them and takes them away. Each is kept from the collector by a label of its own."""

    def __init__(
        self, snapshots: SnapshotClient, *, unpacker: Unpacker, leases: WorkingLeases
    ) -> None:
        self._snapshots, self._unpacker, self._leases = snapshots, unpacker, leases

    async def prepare(
        self, image: Image, key: str, labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]:
        """A writable root file system named `key` on top of `image`; how to mount it.

        It stays until `remove`, whatever becomes of the image. An image that is not unpacked
        here yet is now.

        Raises:
            Conflict: `key` exists.
            NotFound: content of the image is missing.
        """
        labels = {**(labels or {}), LABEL_ROOT: datetime.now(UTC).isoformat(timespec="seconds")}
        snapshots = self._snapshots
        try:
            return await snapshots.prepare(key, image.chain_id, labels)
        except NotFound:  # of the parent: another tool loaded it, or the collector was there
            if not image.chain_id or image.config_descriptor is None:
                raise
        async with self._leases.hold() as lease_id:
            await self._unpacker.unpack(
                image.config_descriptor, image.layers, image.diff_ids, lease_id=lease_id
            )
            return await snapshots.prepare(key, image.chain_id, labels)

    async def mounts(self, key: str) -> Sequence[Mount]:
        """How to mount a root file system made before. NotFound as it says."""
        return await self._snapshots.mounts(key)

    async def keys(self, label: str) -> Sequence[str]:
        """The root file systems that carry `label`."""
        return [s.name for s in await self._snapshots.list(f'labels."{label}"')]

    async def remove(self, key: str) -> None:
        """Delete a root file system; it may be gone already."""
        try:
            await self._snapshots.remove(key)
        except NotFound:
            return
