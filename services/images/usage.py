"""What images take on disk: together, and what would be free without those that nobody uses.

Layers are counted once, however many images have them. A layer's size never changes, so each is
asked for once.

Source: moby, daemon/containerd/service.go (ImageDiskUsage).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from services.errors import NotFound

from .model import Image, chain_ids

MAX_KEPT: Final = 50_000  # layers; a few MB
AT_ONCE: Final = 16


class Usage(Protocol):
    """What a snapshot takes by itself."""

    @property
    def size_bytes(self) -> int:
        """In bytes."""


class Snapshots(Protocol):
    """containerd's. NotFound if there is no such one."""

    async def usage(self, key: str) -> Usage:
        """What it takes by itself, without its parents."""


@dataclass(frozen=True, slots=True)
class _Known:
    size_bytes: int


class LayerSizes:
    """Sizes of layers' snapshots, remembered. For names that say their content: chain IDs."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def usage(self, key: str) -> Usage:
        """What the layer takes by itself.

        Raises:
            NotFound: it is not unpacked, or was not when somebody last asked.
        """
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        async with self._limit:
            size = (await self._snapshots.usage(key)).size_bytes
        self._known[key] = known = _Known(size)
        if len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)
        return known

    async def bytes_of(self, keys: Iterable[str]) -> dict[str, int]:
        """Sizes by chain ID; 0 for what is not unpacked."""
        sizes: dict[str, int] = {}

        async def measure(key: str) -> None:
            try:
                sizes[key] = (await self.usage(key)).size_bytes
            except NotFound:
                sizes[key] = 0

        async with trio.open_nursery() as nursery:
            for key in set(keys):
                nursery.start_soon(measure, key)
        return sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesUsage:
    """All images together. `shared_bytes` stands beside each: of layers that another one has."""

    total_bytes: int
    reclaimable_bytes: int
    active: int
    shared_bytes: tuple[int, ...]


async def measure_images(
    images: Sequence[Image], in_use: Sequence[bool], layers: LayerSizes
) -> ImagesUsage:
    """What `images` take; `in_use` says of each whether a container stands on it."""
    chains = [chain_ids(image.diff_ids) for image in images]
    sizes = await layers.bytes_of(key for chain in chains for key in chain)
    users: dict[str, int] = {}
    for key in (key for chain in chains for key in chain):
        users[key] = users.get(key, 0) + 1
    used = [image for image, is_used in zip(images, in_use, strict=True) if is_used]
    total = _together(images, sizes)
    return ImagesUsage(
        total_bytes=total,
        reclaimable_bytes=total - _together(used, sizes),
        active=len(used),
        shared_bytes=tuple(sum(sizes[key] for key in chain if users[key] > 1) for chain in chains),
    )


def _together(images: Iterable[Image], sizes: dict[str, int]) -> int:
    """Content and layers, each once; what an image has of its own besides its layers as it is."""
    blobs: dict[str, int] = {}
    snapshots: dict[str, int] = {}
    rest = 0
    for image in images:
        own_chain = {key: sizes[key] for key in chain_ids(image.diff_ids)}
        own_layers = {layer.digest: layer.size for layer in image.layers}
        rest += max(0, image.content_bytes - sum(own_layers.values()))
        rest += max(0, image.unpacked_bytes - sum(own_chain.values()))
        blobs |= own_layers
        snapshots |= own_chain
    return rest + sum(blobs.values()) + sum(snapshots.values())
