"""Removing images that nothing needs: which names go, and what space came of it.

A container keeps the name that it was made by, and whatever name its image has left. What is
decided here is carried out by the caller, one prune at a time.

Source: moby, daemon/containerd/image_prune.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.errors import NotFound

from .catalog import Catalog
from .filters import ImageFilters, select
from .model import Deleted, Image, ImageId, ImageName, ImageUse, Untagged, chain_ids
from .ports import ContainerdClient, ImageUsers
from .reference import Reference, id_prefix, parse_any_reference
from .survey import Surveyor


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFilters:
    """`every`: not only images without a name. `filters` must let an image through as well."""

    every: bool = False
    filters: ImageFilters = field(default_factory=ImageFilters)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedImages:
    """What is gone, in order, and the bytes that were freed on disk."""

    removed: tuple[Untagged | Deleted, ...]
    reclaimed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """Names of an image that go. `keeps_dangling`: a container needs the image all the same."""

    image: Image
    names: tuple[ImageName, ...]
    keeps_dangling: bool

    @property
    def is_last(self) -> bool:
        """Whether the image goes with them."""
        return len(self.names) == len(self.image.names) and not self.keeps_dangling


def choose(catalog: Catalog, wanted: PruneFilters, in_use: ImageUsers) -> tuple[Doomed, ...]:
    """What a prune takes away.

    Raises:
        InvalidParameter, NotFound: a filter cannot be read.
    """
    chosen: list[Doomed] = []
    for image in select(catalog, wanted.filters):
        uses = in_use(image.id)
        names = tuple(
            name
            for name in image.names
            if (wanted.every or name.is_dangling) and not _is_kept(name, image, uses)
        )
        if names:
            is_needed = bool(uses) and len(names) == len(image.names)
            chosen.append(Doomed(image=image, names=names, keeps_dangling=is_needed))
    return tuple(chosen)


def _is_kept(name: ImageName, image: Image, uses: Sequence[ImageUse]) -> bool:
    """A name that a container was made by; the mark of an image that one needs."""
    if name.is_dangling:
        return bool(uses)
    return any(_names(use.image, image.id) == name.text for use in uses)


def _names(text: str, image_id: ImageId) -> str:
    """The whole name that a container's image text means; "" if it is the image's ID."""
    prefix = id_prefix(text)
    if not text or (prefix and image_id.partition(":")[2].startswith(prefix)):
        return ""
    parsed = parse_any_reference(text)
    return str(parsed.tagged()) if isinstance(parsed, Reference) else ""


@dataclass(frozen=True, slots=True)
class _Sizes:
    blobs: dict[str, int]  # by digest
    snapshots: dict[str, int]  # by chain ID


class SpaceMeter:
    """Tells what a removal has freed: what was there before it and is not after it."""

    def __init__(self, containerd: ContainerdClient, surveyor: Surveyor) -> None:
        self._containerd, self._surveyor = containerd, surveyor
        self._before = _Sizes({}, {})

    async def look_at(self, image: Image) -> None:
        """Note what an image takes."""
        try:
            survey = await self._surveyor.survey(image.target)
        except NotFound:
            return
        self._before.blobs.update({index.digest: index.size for index, _ in survey.indexes})
        for variant in survey.variants:
            self._before.blobs.update(
                {blob.digest: blob.size for blob in variant.blobs if blob.digest in variant.present}
            )
            if variant.config is not None and variant.is_image:
                for chain_id in chain_ids(variant.config.diff_ids):
                    await self._measure(chain_id)

    async def gone(self) -> tuple[tuple[Deleted, ...], int]:
        """The blobs that are not there any more, and all that was freed with them."""
        deleted: list[Deleted] = []
        freed = 0
        for digest, size in self._before.blobs.items():
            try:
                await self._containerd.content.info(digest)
            except NotFound:
                deleted.append(Deleted(id=ImageId(digest)))
                freed += size
        for chain_id, size in self._before.snapshots.items():
            try:
                await self._containerd.snapshots.stat(chain_id)
            except NotFound:
                freed += size
        return tuple(deleted), freed

    async def _measure(self, chain_id: str) -> None:
        if chain_id in self._before.snapshots:
            return
        try:
            usage = await self._containerd.snapshots.usage(chain_id)
        except NotFound:
            return
        self._before.snapshots[chain_id] = usage.size_bytes
