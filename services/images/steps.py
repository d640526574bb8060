"""Steps of builds: images that nobody named, kept so that the next build need not make them again.

A step is an image record of its own kind, under a name that holds its key. Such a name is none to
users: an image that has no other is not listed, not tagged, not removed by them; `docker builder
prune` takes it away. Layers are shared with every image that has them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.containerd.errors import AlreadyExists
from services.containerd.values import ImageRecord
from services.errors import NotFound

from .changes import NameChanges, carried_through
from .compose import Composer, Recipe
from .index import ImageIndex
from .model import STEP_PREFIX, Image, ImageId
from .names import to_descriptor
from .oci import OciDescriptor
from .ports import ImageClient
from .reference import Reference

LABEL_PREFIX: Final = "io.wharfinger.build."
USE_NOTED_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """One step that is kept. `key` says what it was made of; `description` is for people."""

    key: str
    digest: str
    description: str
    created_at_ns: int
    used_at_ns: int


class BuildSteps:
    """The steps in containerd's image store."""

    def __init__(
        self,
        images: ImageClient,
        *,
        composer: Composer,
        index: ImageIndex,
        changes: NameChanges,
    ) -> None:
        self._images = images
        self._composer = composer
        self._index = index
        self._changes = changes

    async def make(self, recipe: Recipe, key: str, description: str) -> Image:
        """Make an image that is a step of a build, or the one that was made of the same before.

        Raises:
            InvalidParameter: the layer is no tar.
        """
        kept: list[str] = []

        async def keep(target: OciDescriptor) -> None:
            kept.append(await self.keep(key, target, description))

        await self._composer.compose(recipe, keep)
        return await self._of_digest(kept[0])

    async def find(self, key: str) -> Image | None:
        """The image that a step of a build ended in, if it is kept."""
        digest = await self.use(key)
        if digest is None:
            return None
        try:
            return await self._of_digest(digest)
        except NotFound:  # it cannot be read: it is made anew
            return None

    async def show(self, image: Image, references: Sequence[Reference]) -> None:
        """Let users see the image that a build has ended in, under its names or without one."""
        async with self._changes.changing:
            with carried_through(f"naming {image.id}"):
                for reference in references:
                    await self._changes.names.give(reference, image.target)
                    await self._changes.tell(image, "tag", reference.familiar)
                if not references:
                    await self._changes.keep_nameless(image.target)
                await self._index.current(fresh=True)

    async def _of_digest(self, digest: str) -> Image:
        image = (await self._index.current()).by_id.get(ImageId(digest))
        if image is None:
            image = (await self._index.current(fresh=True)).by_id.get(ImageId(digest))
        if image is None:
            raise NotFound(f"No such image: {digest}")
        return image

    async def use(self, key: str) -> str | None:
        """The digest of the image that the step of this key ended in; it counts as used now.

        That is written down once in USE_NOTED_EVERY_S: it is a sync of containerd's database, and a
        build of many steps that are all kept would wait for nothing else.
        """
        try:
            record = await self._images.get(f"{STEP_PREFIX}{key}")
            if time.time_ns() - record.updated_at_ns > USE_NOTED_EVERY_S * 1e9:
                await self._images.update(record)
        except NotFound:
            return None
        return record.target.digest

    async def keep(self, key: str, target: OciDescriptor, description: str) -> str:
        """Keep a step; the digest that is kept: another one's that was quicker, if there is one."""
        labels = {f"{LABEL_PREFIX}description": description[:2000]}
        record = ImageRecord(
            name=f"{STEP_PREFIX}{key}", target=to_descriptor(target), labels=labels
        )
        try:
            await self._images.create(record)
        except AlreadyExists:
            return await self.use(key) or target.digest
        return target.digest

    async def replace(self, key: str, newer_key: str) -> None:
        """Let `key` mean what the step of another key ended in, which is forgotten."""
        try:
            newer = await self._images.get(f"{STEP_PREFIX}{newer_key}")
        except NotFound:
            return
        record = replace(newer, name=f"{STEP_PREFIX}{key}")
        try:
            await self._images.create(record)
        except AlreadyExists:
            await self._images.update(record)
        await self.drop(newer_key, collect=False)

    async def list(self) -> Sequence[BuildStep]:
        """All steps, the one that was used last first."""
        records = await self._images.list(f'name~="^{STEP_PREFIX}"')
        steps = [_to_step(record) for record in records if record.name.startswith(STEP_PREFIX)]
        return sorted(steps, key=lambda step: -step.used_at_ns)

    async def drop(self, key: str, *, collect: bool) -> None:
        """Forget one; with `collect`, what only it had is gone when this returns."""
        try:
            await self._images.delete(f"{STEP_PREFIX}{key}", sync=collect)
        except NotFound:
            return


def _to_step(record: ImageRecord) -> BuildStep:
    labels: Mapping[str, str] = record.labels
    return BuildStep(
        key=record.name.removeprefix(STEP_PREFIX),
        digest=record.target.digest,
        description=labels.get(f"{LABEL_PREFIX}description", ""),
        created_at_ns=record.created_at_ns,
        used_at_ns=record.updated_at_ns,
    )
