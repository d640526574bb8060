"""The image store as the rest of the engine uses it: load, list, inspect, tag, remove, root files.

containerd holds the truth. What changes names runs one at a time, so that what was decided from the
catalog is still so when it is done; what only moves data runs side by side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

import trio
from loguru import logger

from services.containerd.values import Mount
from services.errors import EngineError, NotFound
from services.measures import Durations

from .catalog import Catalog, Match, find, no_such_platform
from .changes import NameChanges
from .filters import ImageFilters, select
from .index import ImageIndex
from .leases import WorkingLeases
from .model import ImageId
from .oci import OciDescriptor
from .origins import repositories_of
from .platform import Platform, host_platform
from .rootfs import RootFilesystems
from .survey import Surveyor
from .unpack import Unpacker

if TYPE_CHECKING:
    from .attestations import Attestation
    from .compose import Composer, Recipe
    from .load import Loader, LoadSink
    from .model import Deleted, Image, ImageUse, Untagged
    from .ports import Body, ContainerdClient, EventSink, ImageUsers
    from .prune import PrunedImages, PruneFilters
    from .reference import Reference
    from .remover import ImageRemover
    from .save import Saver
    from .steps import BuildSteps
    from .unpack import UnpackSteps

TIDY_EVERY_S: Final = 30.0
MAX_LOADS: Final = 4  # a load past this many waits; each holds a thread and a few MiB

_ALL: Final = ImageFilters()

_log = logger.bind(service="images")


def _nobody(_image_id: ImageId, /) -> Sequence[ImageUse]:
    return ()


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
        self.actions: Final = Durations()  # of what succeeded, by dockerd's word for it
        self._containerd = containerd
        self._events, self._in_use = events, in_use
        self._host = host = host or host_platform()
        self._surveyor = surveyor = Surveyor(containerd.content)
        self._leases = WorkingLeases(containerd)
        self._unpacker = Unpacker(containerd, snapshotter=snapshotter)
        self._index = index = ImageIndex(containerd=containerd, surveyor=surveyor, host=host)
        self._changes = NameChanges(containerd.images, index=index, events=events)
        self._roots = RootFilesystems(
            containerd.snapshots, unpacker=self._unpacker, leases=self._leases
        )

    # What nothing at a start asks for is made, and its modules imported, with the first use.

    @cached_property
    def _loader(self) -> Loader:
        from .load import Loader

        return Loader(
            containerd=self._containerd,
            surveyor=self._surveyor,
            unpacker=self._unpacker,
            leases=self._leases,
            host=self._host,
            limiter=trio.CapacityLimiter(MAX_LOADS),
        )

    @cached_property
    def _composer(self) -> Composer:
        from .compose import Composer

        return Composer(
            containerd=self._containerd,
            unpacker=self._unpacker,
            leases=self._leases,
            limiter=trio.CapacityLimiter(MAX_LOADS),
        )

    @cached_property
    def _saver(self) -> Saver:
        from .save import Saver

        return Saver(
            containerd=self._containerd,
            surveyor=self._surveyor,
            leases=self._leases,
            host=self._host,
        )

    @cached_property
    def _remover(self) -> ImageRemover:
        from .remover import ImageRemover

        return ImageRemover(
            containerd=self._containerd,
            surveyor=self._surveyor,
            index=self._index,
            changes=self._changes,
            leases=self._leases,
            events=self._events,
            in_use=self._in_use,
        )

    @cached_property
    def steps(self) -> BuildSteps:
        """The steps of builds that are kept."""
        from .steps import BuildSteps

        return BuildSteps(
            self._containerd.images,
            composer=self._composer,
            index=self._index,
            changes=self._changes,
        )

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
                await self._containerd.content.clear_nameless()
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
        await self._containerd.content.clear_nameless()

    async def load(self, body: Body, report: LoadSink, platforms: Sequence[Platform] = ()) -> None:
        """Load the images of an archive as it arrives (`docker load`), telling `report` of it.

        With `platforms`, these alone of each; an image without one of them is refused.

        The archive may be docker's or an OCI layout, plain or compressed. Cancelled or failed, it
        has loaded nothing. An image whose name moved to another one stays without a name.

        Raises:
            InvalidParameter: not an archive, damaged, hostile, or its parts do not fit together.
            NotFound: an image does not provide a platform.
        """
        await self._loader.load(
            body, name=self._changes.name_loaded, report=report, platforms=platforms
        )
        if platforms:  # what came along is gone again
            self._index.forget()

    @asynccontextmanager
    async def save(
        self, names: Sequence[str], platforms: Sequence[Platform] = ()
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An archive of the images that `names` mean, in pieces (`docker save`).

        Raises:
            NotFound: one matches nothing, or has no such platform.
        """
        from .save import choose

        try:
            chosen = choose(await self._index.current(), names)
        except NotFound:
            chosen = choose(await self._index.current(fresh=True), names)
        async with self._saver.archive(chosen, platforms) as pieces:
            for image in {one.image.id: one.image for one in chosen}.values():
                await self._changes.tell(image, "save", image.id)
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
        await self._changes.name_pulled(reference, target)

    async def tell_pushed(self, reference: Reference) -> None:
        """Say that the image of this name is in its registry now."""
        await self._changes.tell_transfer("push", reference)

    async def compose(self, recipe: Recipe, reference: Reference | None, action: str) -> ImageId:
        """Make an image (`docker commit`, `docker import`) and name it, if `reference` is given.

        `action` is the event that tells of it. Cancelled or failed, nothing is made.

        Raises:
            InvalidParameter: the layer is no tar.
        """

        async def name(target: OciDescriptor) -> None:
            references = () if reference is None else (reference,)
            await self._changes.name_made(target, references, action)

        target = await self._composer.compose(recipe, name)
        return ImageId(target.digest)

    async def everything(self) -> Sequence[Image]:
        """All images, steps of builds among them."""
        return (await self._index.current(fresh=True)).images

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

    async def inspect(self, ref: str, platform: Platform | None = None) -> Image:
        """As `resolve`; with a `platform` as that one of its manifests has it.

        Raises:
            NotFound: it is not here for this platform.
        """
        image = await self.resolve(ref)
        return image if platform is None else await self.of_platform(image, platform, ref)

    async def of_platform(self, image: Image, platform: Platform, ref: str) -> Image:
        """The image as one of its platforms has it. `ref` is what the client calls it.

        Raises:
            NotFound: it is not here for this platform.
        """
        if image.platform == platform and image.manifest is not None:
            return image
        found = await self._index.of_platform(image, platform)
        if found is None:
            raise no_such_platform(ref, platform)
        return found

    async def repositories(self, descriptor: OciDescriptor) -> Sequence[str]:
        """Where a document was pulled from or pushed to, by whole names, in order."""
        try:
            info = await self._containerd.content.info(descriptor.digest)
        except NotFound:
            return ()
        return repositories_of(info.labels)

    async def tag(self, ref: str, name: str) -> Image:
        """Let `name` mean the image that `ref` means.

        Raises:
            InvalidParameter: `name` is no name, or holds a digest.
            NotFound: `ref` matches nothing.
        """
        return await self._changes.tag(ref, name)

    async def remove(self, ref: str, *, force: bool = False) -> Sequence[Untagged | Deleted]:
        """As `ImageRemover.remove`."""
        with self.actions.timed("delete"):
            return await self._remover.remove(ref, force=force)

    async def remove_platforms(
        self, ref: str, platforms: Sequence[Platform], *, force: bool = False
    ) -> Sequence[Deleted]:
        """As `ImageRemover.remove_platforms`."""
        return await self._remover.remove_platforms(ref, platforms, force=force)

    async def prune(self, wanted: PruneFilters) -> PrunedImages:
        """As `ImageRemover.prune`."""
        return await self._remover.prune(wanted)

    async def attestations(
        self,
        ref: str,
        platform: Platform | None,
        *,
        predicate_types: Sequence[str] = (),
        with_statements: bool = False,
    ) -> Sequence[Attestation]:
        """As `read_attestations`, of what `ref` means; without a platform, this machine's."""
        from .attestations import read_attestations

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
        """As `RootFilesystems.prepare`."""
        return await self._roots.prepare(image, key, labels)

    async def prepare_view(
        self, image: Image, key: str, labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]:
        """As `RootFilesystems.prepare_view`."""
        return await self._roots.prepare_view(image, key, labels)

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """As `RootFilesystems.mounts`."""
        return await self._roots.mounts(key)

    async def rootfs_keys(self, label: str) -> Sequence[str]:
        """As `RootFilesystems.keys`."""
        return await self._roots.keys(label)

    async def remove_rootfs(self, key: str) -> None:
        """As `RootFilesystems.remove`."""
        await self._roots.remove(key)

    async def _match(self, ref: str) -> Match:
        """From the catalog at hand; a miss, which is rare, is worth a fresh one."""
        try:
            return find(await self._index.current(), ref)
        except NotFound:
            return find(await self._index.current(fresh=True), ref)
