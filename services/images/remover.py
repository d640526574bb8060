"""Images taken away: by name, by ID, for some of their platforms, or because nobody needs them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from services.errors import Conflict
from services.events import Event

from .catalog import find, no_such_image
from .changes import NameChanges, carried_through
from .index import ImageIndex
from .leases import WorkingLeases
from .model import Deleted, Untagged
from .platform import Platform
from .platform_removal import cut, plan_platform_removal
from .ports import ContainerdClient, EventSink, ImageUsers
from .prune import PrunedImages, PruneFilters, SpaceMeter
from .prune import choose as choose_to_prune
from .removal import Removal, plan_removal
from .survey import Surveyor


class ImageRemover:
    """Carries removals out. `in_use` tells who stands on an image."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        surveyor: Surveyor,
        index: ImageIndex,
        changes: NameChanges,
        leases: WorkingLeases,
        events: EventSink,
        in_use: ImageUsers,
    ) -> None:
        self._containerd, self._surveyor, self._index = containerd, surveyor, index
        self._changes, self._leases, self._events = changes, leases, events
        self._in_use = in_use
        self._is_pruning = False

    async def remove(self, ref: str, *, force: bool = False) -> Sequence[Untagged | Deleted]:
        """Take away the name `ref`, and with the last one the image; or the image of an ID.

        Raises:
            NotFound: `ref` matches nothing.
            Conflict: containers or other names stand in the way; dockerd's words.
        """
        async with self._changes.changing:
            match = find(await self._index.current(fresh=True), ref)
            if match.image.is_hidden:
                raise no_such_image(ref)
            removal = plan_removal(match, self._in_use(match.image.id), force=force)
            with carried_through(f"removing {ref}"):
                await self._changes.carry_out(match.image, removal)
        return removal.answer(match.image.id)

    async def remove_platforms(
        self, ref: str, platforms: Sequence[Platform], *, force: bool = False
    ) -> Sequence[Deleted]:
        """Take away what only these platforms of an image need; its names and index stay.

        Raises:
            NotFound: `ref` matches nothing, or the image has nothing here for a platform.
            Conflict: a container was made of one of them.
        """
        async with self._changes.changing:
            match = find(await self._index.current(fresh=True), ref)
            if match.image.is_hidden:
                raise no_such_image(ref)
            removal = plan_platform_removal(
                match,
                await self._surveyor.survey(match.image.target),
                platforms,
                self._in_use(match.image.id),
                ref=ref,
                force=force,
            )
            with carried_through(f"removing platforms of {ref}"):
                await cut(removal, self._containerd.content)
                await self._leases.collect()
                self._index.forget()
        return removal.answer

    async def prune(self, wanted: PruneFilters) -> PrunedImages:
        """Remove what nothing needs; tell what was freed on disk.

        Raises:
            Conflict: another prune is at work.
        """
        if self._is_pruning:
            raise Conflict("a prune operation is already running")
        self._is_pruning = True
        try:
            pruned = await self._prune(wanted)
        finally:
            self._is_pruning = False
        reclaimed = {"reclaimed": str(pruned.reclaimed_bytes)}
        await self._events.commit(
            Event(
                type="image",
                action="prune",
                actor_id="",
                attributes=reclaimed,
                time_ns=time.time_ns(),
            )
        )
        return pruned

    async def _prune(self, wanted: PruneFilters) -> PrunedImages:
        meter = SpaceMeter(self._containerd, self._surveyor)
        untagged: list[Untagged] = []
        async with self._changes.changing:
            doomed = choose_to_prune(await self._index.current(fresh=True), wanted, self._in_use)
            for one in doomed:
                await meter.look_at(one.image)
            for one in doomed:
                removal = Removal(
                    names=one.names,
                    deletes_image=one.is_last,
                    keeps_dangling=one.keeps_dangling,
                )
                with carried_through("pruning images"):
                    await self._changes.carry_out(one.image, removal, collect=False)
                untagged += [
                    Untagged(name=name.familiar) for name in one.names if not name.is_dangling
                ]
        if doomed:
            await self._leases.collect()
        deleted, freed = await meter.gone()
        return PrunedImages(removed=(*untagged, *deleted), reclaimed_bytes=freed)
