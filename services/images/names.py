"""Names in containerd's image store, changed so that no image vanishes because its name moved."""

from __future__ import annotations

from typing import Final

from services.containerd.errors import AlreadyExists
from services.containerd.values import Descriptor, ImageRecord
from services.errors import NotFound

from .model import dangling_name
from .oci import OciDescriptor
from .ports import ImageClient
from .reference import Reference

# A descriptor's own name would show up as the name of the image under other names too.
_NOT_KEPT: Final = frozenset({"io.containerd.image.name", "org.opencontainers.image.ref.name"})


class ImageNames:
    """Gives names to targets and takes them away, for one caller at a time: see Images."""

    def __init__(self, images: ImageClient) -> None:
        self._images = images

    async def give(self, reference: Reference, target: OciDescriptor) -> None:
        """Let `reference` mean `target` from now on; what it meant stays, dangling if need be."""
        name = str(reference)
        record = ImageRecord(name=name, target=to_descriptor(target))
        old = await self._get(name)
        if old is None:
            await self._images.create(record)
        else:
            if old.target.digest != target.digest:
                await self._keep_without(name, old.target)
            await self._images.update(record)
        await self.drop(dangling_name(target.digest))

    async def keep_dangling(self, target: OciDescriptor) -> None:
        """See to it that `target` stays in the store though nothing names it."""
        await self._create_dangling(to_descriptor(target))

    async def drop(self, name: str, *, collect: bool = False) -> None:
        """Take a name away; with `collect`, have all that nothing refers to any more gone after."""
        try:
            await self._images.delete(name, sync=collect)
        except NotFound:  # somebody else was quicker: it is as it was to be
            return

    async def _keep_without(self, name: str, target: Descriptor) -> None:
        others = await self._images.list(f"target.digest=={target.digest}")
        if all(record.name == name for record in others):
            await self._create_dangling(target)

    async def _create_dangling(self, target: Descriptor) -> None:
        try:
            await self._images.create(ImageRecord(name=dangling_name(target.digest), target=target))
        except AlreadyExists:
            return

    async def _get(self, name: str) -> ImageRecord | None:
        try:
            return await self._images.get(name)
        except NotFound:
            return None


def to_descriptor(descriptor: OciDescriptor) -> Descriptor:
    """For containerd, without annotations that name it."""
    annotations = descriptor.annotations or {}
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size_bytes=descriptor.size,
        annotations={key: value for key, value in annotations.items() if key not in _NOT_KEPT},
    )


def from_descriptor(descriptor: Descriptor) -> OciDescriptor:
    """From containerd."""
    return OciDescriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size_bytes,
        annotations=dict(descriptor.annotations) or None,
    )
