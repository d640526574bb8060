"""The image store as the rest of the engine uses it: load, list, inspect, tag, remove, root files.

containerd holds the truth. What changes names runs one at a time, so that what was decided from the
catalog is still so when it is done; what only moves data runs side by side.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import trio
from loguru import logger

from services.containerd.values import Mount
from services.errors import Conflict, DeadlineExceeded, EngineError, InvalidParameter, NotFound
from services.events import Event

from .attestations import Attestation, read_attestations
from .catalog import Catalog, Match, find, no_such_image
from .compose import Composer, Recipe
from .filters import ImageFilters, select
from .index import ImageIndex
from .leases import WorkingLeases
from .load import Loader, LoadSink
from .model import Deleted, Image, ImageId, ImageUse, Untagged
from .names import ImageNames
from .oci import OciDescriptor
from .platform import Platform, host_platform
from .ports import Body, ContainerdClient, EventSink, ImageUsers
from .prune import PrunedImages, PruneFilters, SpaceMeter
from .prune import choose as choose_to_prune
from .reference import Reference, parse_reference
from .removal import Removal, plan_removal
from .save import Saver, choose
from .steps import BuildSteps
from .survey import Surveyor
from .unpack import Unpacker, UnpackSteps

LABEL_ROOT: Final = "containerd.io/gc.root"
TIDY_EVERY_S: Final = 30.0
CHANGE_LIMIT_S: Final = 120.0  # of a change of names; the last removal runs the collector
MAX_LOADS: Final = 4  # a load past this many waits; each holds a thread and a few MiB

_ALL: Final = ImageFilters()

_log = logger.bind(service="images")


_MakeSnapshot = Callable[[str, str, Mapping[str, str]], Awaitable[Sequence[Mount]]]


def _nobody(_image_id: ImageId, /) -> Sequence[ImageUse]:
    return ()


@contextmanager
def _carried_through(what: str) -> Iterator[None]:
    """Once begun, the block ends though the client goes: half of it would be told as none."""
    with trio.move_on_after(CHANGE_LIMIT_S, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"{what}: not done after {CHANGE_LIMIT_S:g} s")


class Images:
    """Images of one containerd namespace. `run` is a supervised child; calls work without it too.

    `in_use` tells who stands on an image; without it, nobody does.
    """

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        events: EventSink,
        snapshotter: str = "overlayfs",
        in_use: ImageUsers = _nobody,
        host: Platform | None = None,
    ) -> None:
        self._containerd, self._events, self._in_use = containerd, events, in_use
        self._host = host = host or host_platform()
        self._surveyor = surveyor = Surveyor(containerd.content)
        self._leases = WorkingLeases(containerd)
        self._unpacker = Unpacker(containerd, snapshotter=snapshotter)
        self._index = ImageIndex(containerd=containerd, surveyor=surveyor, host=host)
        self._loader = Loader(
            containerd=containerd,
            surveyor=surveyor,
            unpacker=self._unpacker,
            leases=self._leases,
            host=host,
            limiter=trio.CapacityLimiter(MAX_LOADS),
        )
        self._composer = Composer(
            containerd=containerd,
            unpacker=self._unpacker,
            leases=self._leases,
            limiter=trio.CapacityLimiter(MAX_LOADS),
        )
        self._saver = Saver(
            containerd=containerd, surveyor=surveyor, leases=self._leases, host=host
        )
        self._names = ImageNames(containerd.images)
        self.steps = BuildSteps(containerd.images)
        self._changing = trio.Lock()
        self._is_pruning = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clear away unfinished work, before `started` and after; hear of what other tools change.

        containerd being away is no failure of ours: what could not be done is tried again.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._keep_tidy)
            nursery.start_soon(self._index.follow)
            task_status.started()

    async def _keep_tidy(self, *, task_status: trio.TaskStatus[None]) -> None:
        while True:
            try:
                await self._leases.remove_leftovers()
            except EngineError as error:
                _log.warning("unfinished work not cleared away", error=str(error))
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with suppress(EngineError):  # who asks is told
                await self._index.current()  # so that the first question need not wait for it
            await trio.sleep(TIDY_EVERY_S)

    @property
    def held_leases(self) -> frozenset[str]:
        """Leases that something is being made under now."""
        return self._leases.held

    async def clear_leftovers(self) -> None:
        """Take away unfinished work that nobody goes on with. Raises EngineError."""
        self._leases.doubt()
        await self._leases.remove_leftovers()

    async def load(self, body: Body, report: LoadSink, platform: Platform | None = None) -> None:
        """Load the images of an archive as it arrives (`docker load`), telling `report` of it.

        With a `platform`, that one alone of each; an image without it is refused.

        The archive may be docker's or an OCI layout, plain or compressed. Cancelled or failed, it
        has loaded nothing. An image whose name moved to another one stays without a name.

        Raises:
            InvalidParameter: not an archive, damaged, hostile, or its parts do not fit together.
            NotFound: an image does not provide the platform.
        """
        await self._loader.load(body, name=self._name_loaded, report=report, platform=platform)

    @asynccontextmanager
    async def save(
        self, names: Sequence[str], platform: Platform | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An archive of the images that `names` mean, in pieces (`docker save`).

        Raises:
            NotFound: one matches nothing, or has no such platform.
        """
        try:
            chosen = choose(await self._index.current(), names)
        except NotFound:
            chosen = choose(await self._index.current(fresh=True), names)
        async with self._saver.archive(chosen, platform) as pieces:
            for image in {one.image.id: one.image for one in chosen}.values():
                await self._tell(image, "save", image.id)
            yield pieces

    async def catalog(self) -> Catalog:
        """All images, as of a moment ago: what tells a name's image without another wait."""
        return await self._index.current()

    def catalog_at_once(self) -> Catalog | None:
        """The same if it can be had without asking containerd."""
        return self._index.at_once()

    async def unpack(
        self,
        config: OciDescriptor,
        layers: Sequence[OciDescriptor],
        diff_ids: Sequence[str],
        *,
        lease_id: str,
        steps: UnpackSteps | None = None,
    ) -> None:
        """Make snapshots of an image's layers, whose blobs are here or come: see `Unpacker`."""
        await self._unpacker.unpack(config, layers, diff_ids, lease_id=lease_id, steps=steps)

    async def name_pulled(self, reference: Reference, target: OciDescriptor) -> None:
        """Let `reference`, from a registry, mean `target`, all of which is here."""
        async with self._changing:
            with _carried_through(f"naming {reference}"):
                await self._names.give(reference, target)
                await self._index.current(fresh=True)
                await self._tell_transfer("pull", reference)

    async def tell_pushed(self, reference: Reference) -> None:
        """Say that the image of this name is in its registry now."""
        await self._tell_transfer("push", reference)

    async def compose(self, recipe: Recipe, reference: Reference | None, action: str) -> ImageId:
        """Make an image (`docker commit`, `docker import`) and name it, if `reference` is given.

        `action` is the event that tells of it. Cancelled or failed, nothing is made.

        Raises:
            InvalidParameter: the layer is no tar.
        """

        async def name(target: OciDescriptor) -> None:
            references = () if reference is None else (reference,)
            await self._name_made(target, references, action)

        target = await self._composer.compose(recipe, name)
        return ImageId(target.digest)

    async def make_step(self, recipe: Recipe, key: str, description: str) -> Image:
        """Make an image that is a step of a build, or the one that was made of the same before.

        Raises:
            InvalidParameter: the layer is no tar.
        """

        kept: list[str] = []

        async def keep(target: OciDescriptor) -> None:
            kept.append(await self.steps.keep(key, target, description))

        await self._composer.compose(recipe, keep)
        return await self._of_digest(kept[0])

    async def everything(self) -> Sequence[Image]:
        """All images, steps of builds among them."""
        return (await self._index.current(fresh=True)).images

    async def find_step(self, key: str) -> Image | None:
        """The image that a step of a build ended in, if it is kept."""
        digest = await self.steps.find(key)
        if digest is None:
            return None
        await self.steps.touch(key)
        try:
            return await self._of_digest(digest)
        except NotFound:  # it cannot be read: it is made anew
            return None

    async def show_step(self, image: Image, references: Sequence[Reference]) -> None:
        """Let users see the image that a build has ended in, under its names or without one."""
        async with self._changing:
            with _carried_through(f"naming {image.id}"):
                for reference in references:
                    await self._names.give(reference, image.target)
                    await self._tell(image, "tag", reference.familiar)
                if not references:
                    await self._keep_nameless(image.target)
                await self._index.current(fresh=True)

    async def _of_digest(self, digest: str) -> Image:
        image = (await self._index.current()).by_id.get(ImageId(digest))
        if image is None:
            image = (await self._index.current(fresh=True)).by_id.get(ImageId(digest))
        if image is None:
            raise NotFound(f"No such image: {digest}")
        return image

    async def list(self, filters: ImageFilters = _ALL) -> Sequence[Image]:
        """The images that `filters` let through, newest first.

        Raises:
            NotFound: a filter names an image that is not there.
        """
        return select(await self._index.current(), filters)

    async def resolve(self, ref: str) -> Image:
        """The image that `ref` means: name, name at a digest, ID, or the beginning of an ID.

        Raises:
            InvalidParameter: `ref` cannot be any of them.
            NotFound: "No such image: NAME:TAG", or several IDs begin so.
        """
        return (await self._match(ref)).image

    async def inspect(self, ref: str) -> Image:
        """As `resolve`: an Image holds all that `docker image inspect` shows."""
        return await self.resolve(ref)

    async def tag(self, ref: str, name: str) -> Image:
        """Let `name` mean the image that `ref` means.

        Raises:
            InvalidParameter: `name` is no name, or holds a digest.
            NotFound: `ref` matches nothing.
        """
        reference = parse_reference(name)
        if reference.digest is not None:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        reference = reference.tagged()
        async with self._changing:
            image = find(await self._index.current(fresh=True), ref).image
            with _carried_through(f"tagging {ref}"):
                await self._names.give(reference, image.target)
                await self._tell(image, "tag", reference.familiar)
            catalog = await self._index.current(fresh=True)
        return catalog.by_id.get(image.id, image)

    async def remove(self, ref: str, *, force: bool = False) -> Sequence[Untagged | Deleted]:
        """Take away the name `ref`, and with the last one the image; or the image of an ID.

        Raises:
            NotFound: `ref` matches nothing.
            Conflict: containers or other names stand in the way; dockerd's words.
        """
        async with self._changing:
            match = find(await self._index.current(fresh=True), ref)
            if match.image.is_hidden:
                raise no_such_image(ref)
            removal = plan_removal(match, self._in_use(match.image.id), force=force)
            with _carried_through(f"removing {ref}"):
                await self._carry_out(match.image, removal)
        return removal.answer(match.image.id)

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

    async def attestations(
        self,
        ref: str,
        platform: Platform | None,
        *,
        predicate_types: Sequence[str] = (),
        with_statements: bool = False,
    ) -> Sequence[Attestation]:
        """As `read_attestations`, of what `ref` means; without a platform, this machine's."""
        return await read_attestations(
            await self.resolve(ref),
            platform or self._host,
            content=self._containerd.content,
            predicate_types=predicate_types,
            with_statements=with_statements,
        )

    async def prepare_rootfs(
        self, image: Image, key: str, labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]:
        """A writable root file system named `key` on top of `image`; how to mount it.

        It stays until `remove_rootfs`, whatever becomes of the image. An image that is not unpacked
        here yet is now.

        Raises:
            Conflict: `key` exists.
            NotFound: content of the image is missing.
        """
        return await self._on_top(image, self._containerd.snapshots.prepare, key, labels)

    async def prepare_view(
        self, image: Image, key: str, labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]:
        """As `prepare_rootfs`, to be read only."""
        return await self._on_top(image, self._containerd.snapshots.view, key, labels)

    async def _on_top(
        self, image: Image, make: _MakeSnapshot, key: str, labels: Mapping[str, str] | None
    ) -> Sequence[Mount]:
        labels = {**(labels or {}), LABEL_ROOT: datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            return await make(key, image.chain_id, labels)
        except NotFound:  # of the parent: another tool loaded it, or the collector was there
            if not image.chain_id or image.config_descriptor is None:
                raise
        async with self._leases.hold() as lease_id:
            await self._unpacker.unpack(
                image.config_descriptor, image.layers, image.diff_ids, lease_id=lease_id
            )
            return await make(key, image.chain_id, labels)

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """How to mount a root file system made before. NotFound as it says."""
        return await self._containerd.snapshots.mounts(key)

    async def rootfs_keys(self, label: str) -> Sequence[str]:
        """The root file systems that carry `label`."""
        return [s.name for s in await self._containerd.snapshots.list(f'labels."{label}"')]

    async def remove_rootfs(self, key: str) -> None:
        """Delete a root file system; it may be gone already."""
        try:
            await self._containerd.snapshots.remove(key)
        except NotFound:
            return

    async def _prune(self, wanted: PruneFilters) -> PrunedImages:
        meter = SpaceMeter(self._containerd, self._surveyor)
        untagged: list[Untagged] = []
        async with self._changing:
            doomed = choose_to_prune(await self._index.current(fresh=True), wanted, self._in_use)
            for one in doomed:
                await meter.look_at(one.image)
            for one in doomed:
                removal = Removal(
                    names=one.names,
                    deletes_image=one.is_last,
                    keeps_dangling=one.keeps_dangling,
                )
                with _carried_through("pruning images"):
                    await self._carry_out(one.image, removal, collect=False)
                untagged += [
                    Untagged(name=name.familiar) for name in one.names if not name.is_dangling
                ]
        if doomed:
            await self._leases.collect()
        deleted, freed = await meter.gone()
        return PrunedImages(removed=(*untagged, *deleted), reclaimed_bytes=freed)

    async def _match(self, ref: str) -> Match:
        """From the catalog at hand; a miss, which is rare, is worth a fresh one."""
        try:
            return find(await self._index.current(), ref)
        except NotFound:
            return find(await self._index.current(fresh=True), ref)

    async def _name_loaded(self, target: OciDescriptor, references: Sequence[Reference]) -> None:
        await self._name_made(target, references, "load")

    async def _name_made(
        self, target: OciDescriptor, references: Sequence[Reference], action: str
    ) -> None:
        """Let an image that is whole be seen, under its names or without one."""
        async with self._changing:
            with _carried_through(f"naming {target.digest}"):
                for reference in references:
                    await self._names.give(reference, target)
                if not references:
                    await self._keep_nameless(target)
                catalog = await self._index.current(fresh=True)
                image = catalog.by_id.get(ImageId(target.digest))
                if image is not None:
                    await self._tell(image, action, image.id)

    async def _keep_nameless(self, target: OciDescriptor) -> None:
        catalog = await self._index.current(fresh=True)
        image = catalog.by_id.get(ImageId(target.digest))
        if image is None or image.is_hidden:
            await self._names.keep_dangling(target)

    async def _carry_out(self, image: Image, removal: Removal, *, collect: bool = True) -> None:
        """With `collect`, return once what the image had is gone from the disk too."""
        if removal.keeps_dangling:
            await self._names.keep_dangling(image.target)
        for name in removal.names:
            is_last = collect and removal.deletes_image and name is removal.names[-1]
            if not (removal.keeps_dangling and name.is_dangling):
                await self._names.drop(name.text, collect=is_last)
            if not name.is_dangling:
                await self._tell(image, "untag", name.familiar)
        if removal.deletes_image:
            await self._tell(image, "delete", image.id)
        await self._index.current(fresh=True)

    async def _tell_transfer(self, action: str, reference: Reference) -> None:
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

    async def _tell(self, image: Image, action: str, name: str) -> None:
        await self._events.commit(
            Event(
                type="image",
                action=action,
                actor_id=image.id,
                attributes={**image.labels, "name": name},
                time_ns=time.time_ns(),
            )
        )
