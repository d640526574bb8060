"""Changes of names: one at a time, carried to their end once begun, and told of.

What was decided from the catalog is still so when it is done: nobody else changes names meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from services.errors import DeadlineExceeded, InvalidParameter
from services.events import Event

from .catalog import find
from .index import ImageIndex
from .model import Image, ImageId
from .names import ImageNames
from .oci import OciDescriptor
from .ports import EventSink, ImageClient
from .reference import Reference, parse_reference
from .removal import Removal

CHANGE_LIMIT_S: Final = 120.0  # the last removal runs the collector

COMMITTED: Final = "create"
"""The event of an image that a commit makes. It is followed by one for its name, as in dockerd,
which names it afterwards; imports and loads are told of alone."""


@contextmanager
def carried_through(what: str) -> Iterator[None]:
    """Once begun, the block ends though the client goes: half of it would be told as none."""
    with trio.move_on_after(CHANGE_LIMIT_S, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"{what}: not done after {CHANGE_LIMIT_S:g} s")


class NameChanges:
    """Gives names to images and takes them away; `changing` is the right to."""

    def __init__(self, images: ImageClient, *, index: ImageIndex, events: EventSink) -> None:
        self.names = ImageNames(images)
        self.changing = trio.Lock()
        self._index, self._events = index, events

    async def name_loaded(self, target: OciDescriptor, references: Sequence[Reference]) -> None:
        """As `name_made`, of an archive's image."""
        await self.name_made(target, references, "load")

    async def name_pulled(self, reference: Reference, target: OciDescriptor) -> None:
        """Let `reference`, from a registry, mean `target`, all of which is here."""
        async with self.changing:
            with carried_through(f"naming {reference}"):
                await self.names.give(reference, target)
                await self._index.current(fresh=True)
                await self.tell_transfer("pull", reference)

    async def name_made(
        self, target: OciDescriptor, references: Sequence[Reference], action: str
    ) -> None:
        """Let an image that is whole be seen, under its names or without one."""
        async with self.changing:
            with carried_through(f"naming {target.digest}"):
                for reference in references:
                    await self.names.give(reference, target)
                if not references:
                    await self.keep_nameless(target)
                catalog = await self._index.current(fresh=True)
                image = catalog.by_id.get(ImageId(target.digest))
                if image is not None:
                    await self.tell(image, action, image.id)
                    for reference in references if action == COMMITTED else ():
                        await self.tell(image, "tag", reference.familiar)

    async def tag(self, ref: str, name: str) -> Image:
        """Let `name` mean the image that `ref` means.

        Raises:
            InvalidParameter: `name` is no name, or holds a digest.
            NotFound: `ref` matches nothing.
        """
        reference = parse_reference(name)
        if reference.digest is not None:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        reference.check_unambiguous()
        reference = reference.tagged()
        async with self.changing:
            image = find(await self._index.current(fresh=True), ref).image
            with carried_through(f"tagging {ref}"):
                await self.names.give(reference, image.target)
                await self.tell(image, "tag", reference.familiar)
            catalog = await self._index.current(fresh=True)
        return catalog.by_id.get(image.id, image)

    async def keep_nameless(self, target: OciDescriptor) -> None:
        """Keep an image that nothing names, unless something does."""
        catalog = await self._index.current(fresh=True)
        image = catalog.by_id.get(ImageId(target.digest))
        if image is None or image.is_hidden:
            await self.names.keep_dangling(target)

    async def carry_out(self, image: Image, removal: Removal, *, collect: bool = True) -> None:
        """With `collect`, return once what the image had is gone from the disk too."""
        if removal.keeps_dangling:
            await self.names.keep_dangling(image.target)
        for name in removal.names:
            is_last = collect and removal.deletes_image and name is removal.names[-1]
            if not (removal.keeps_dangling and name.is_dangling):
                await self.names.drop(name.text, collect=is_last)
            if not name.is_dangling:
                await self.tell(image, "untag", name.familiar)
        if removal.deletes_image:
            await self.tell(image, "delete", image.id)
        await self._index.current(fresh=True)

    async def tell_transfer(self, action: str, reference: Reference) -> None:
        """dockerd's event of a pull or push: its actor is the name."""
        image = (await self._index.current()).by_name.get(str(reference))
        labels = {} if image is None else image.labels
        await self._events.commit(
            Event(
                type="image",
                action=action,
                actor_id=reference.familiar,
                attributes={**labels, "name": reference.familiar_name},
                time_ns=time.time_ns(),
            )
        )

    async def tell(self, image: Image, action: str, name: str) -> None:
        """Say what has happened to an image."""
        await self._events.commit(
            Event(
                type="image",
                action=action,
                actor_id=image.id,
                attributes={**image.labels, "name": name},
                time_ns=time.time_ns(),
            )
        )
