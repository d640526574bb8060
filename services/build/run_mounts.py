"""The mounts of one RUN: what each shows, what of it counts for the cache, and having them.

What is read only is mounted from where it lies; what may be written to is a copy that goes with
the build. Caches are `CacheMounts`'s.

Source: BuildKit, frontend/dockerfile/dockerfile2llb/convert_runmount.go.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, assert_never

import msgspec
import trio

from services.containers.archives.root import PLACE, Root
from services.containers.archives.unpack import Rules
from services.containers.config import BindOptions, HostConfig, ImageOptions, Mount
from services.dockerfile import ExpansionError, Line, expand
from services.errors import InvalidParameter
from services.images import Image, RunConfig
from services.images.instructions import Scope
from services.images.oci import INDEX_TYPES
from services.images.platform import host_platform

from .asked_mounts import AskedMounts, check_asked
from .cache_mounts import CacheMounts, CacheWish
from .client import BuildClient
from .context import BuildContext
from .finding import Source, source_at
from .flags import values_of
from .mount_options import MountType, RunMount, parse_mount
from .plan import SCRATCH, Plan, Stage
from .sources import copy_sources, copy_tree, hash_sources
from .stage_state import mixed
from .step_cache import StageFiles
from .workbench import Workbench

T = TypeVar("T")

NAMESPACE_ARG: Final = "BUILDKIT_CACHE_MOUNT_NS"
"""A build argument that keeps caches of one id apart."""

_DEFAULT_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMount:
    """A mount with its place in the container, absolute, and what it shows.

    `image` None means the context, or nothing at all where `found` is None too. `digest` says what
    a bind shows, or what a cache begins with.
    """

    mount: RunMount
    target: str
    image: Image | None = None
    found: Source | None = None
    digest: str = ""

    def identity(self) -> str:
        """All of it that counts for the step: not what is in a cache."""
        mount = self.mount
        owner = (mount.mode, mount.uid, mount.gid)
        return repr(
            (
                *(mount.type.value, self.target, mount.source, mount.id, mount.env),
                *(mount.sharing.value, mount.is_read_only, mount.is_required, mount.size_bytes),
                *(owner, self.digest),
            )
        )


class RunMounts:
    """Reads and makes the mounts of one stage's commands."""

    def __init__(
        self,
        *,
        plan: Plan,
        stage: Stage,
        context: BuildContext,
        files: StageFiles,
        workbench: Workbench,
        caches: CacheMounts,
        client: BuildClient | None,
        namespace: str,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`namespace` keeps the caches apart from those of others of the same id."""
        self._plan, self._stage, self._context = plan, stage, context
        self._files, self._workbench = files, workbench
        self._caches, self._namespace, self._disk = caches, namespace, disk
        self._client = client
        self._asked = AskedMounts(client, context.files, disk=disk)
        self._digests: dict[str, str] = {}  # of the context, which does not change, by real paths

    async def read(self, line: Line, scope: Scope, working_directory: str) -> list[PlacedMount]:
        """The mounts that a RUN asks for; waits for the stages that they are taken from.

        Raises:
            InvalidParameter: one is malformed, or what it shows is not there.
        """

        def expanded(value: str) -> str:
            try:
                return expand(value, scope.variables, escape=scope.escape)
            except ExpansionError as error:
                raise InvalidParameter(str(error)) from error

        placed = []
        for text in values_of(line, "mount"):
            mount = parse_mount(text, expanded)
            match mount.type:
                case MountType.SECRET | MountType.SSH:
                    check_asked(mount, self._client)  # what is not had counts, too
                    placed.append(PlacedMount(mount=mount, target=mount.target))
                case MountType.TMPFS:
                    placed.append(PlacedMount(mount=mount, target=_place(mount, working_directory)))
                case MountType.BIND | MountType.CACHE:
                    target = _place(mount, working_directory)
                    placed.append(await self._from(mount, target, line.number))
                case _:
                    assert_never(mount.type)
        return placed

    @asynccontextmanager
    async def ready(
        self, mounts: Sequence[PlacedMount], host: HostConfig, description: str
    ) -> AsyncIterator[tuple[HostConfig, Mapping[str, str]]]:
        """`host` with the mounts, and the variables that say where some are; for a container that
        is gone before the block ends.

        A cache that another command has locked is waited for. `description` is the command.
        """
        caches = [one for one in mounts if one.mount.type is MountType.CACHE]
        made = [await self._bind(one) for one in mounts if one.mount.type is MountType.BIND]
        tmpfs = {
            one.target: _tmpfs_options(one.mount)
            for one in mounts
            if one.mount.type is MountType.TMPFS
        }
        wishes = [self._wish(one, description) for one in caches]
        on_request = (MountType.SECRET, MountType.SSH)
        asked_for = [one.mount for one in mounts if one.mount.type in on_request]
        async with (
            self._caches.held(wishes) as places,
            self._asked.provided(asked_for) as asked,
        ):
            for cache, place in zip(caches, places, strict=True):
                made.append(_bind_mount(place, cache.target, cache.mount.is_read_only))
            made += asked.mounts
            told = msgspec.structs.replace(
                host, mounts=made or host.mounts, tmpfs=tmpfs or host.tmpfs
            )
            yield told, dict(asked.variables)

    async def _from(self, mount: RunMount, target: str, number: int) -> PlacedMount:
        """A bind, or a cache, with what it is taken from."""
        path = _clean(mount.source)
        is_cache = mount.type is MountType.CACHE
        if mount.origin:
            origin = self._plan.origin(self._stage, mount.origin, number)
            if isinstance(origin, Stage) or origin.lower() != SCRATCH:
                image, key = await self._files.image_of(origin)
                return await self._from_image(mount, target, image, key, path)
        elif not is_cache:
            found = await self._in_thread(partial(_existing, self._context.root, path))
            if found.path not in self._digests:
                hashing = partial(hash_sources, self._context.root, [found])
                self._digests[found.path] = await self._in_thread(hashing)
            digest = mixed(found.name, self._digests[found.path])
            return PlacedMount(mount=mount, target=target, found=found, digest=digest)
        if path != "/":
            raise _not_found(path)
        return PlacedMount(mount=mount, target=target)

    async def _from_image(
        self, mount: RunMount, target: str, image: Image, key: str, path: str
    ) -> PlacedMount:
        whole = Source(path="/", name="/", is_directory=True)
        if mount.type is MountType.CACHE:
            return PlacedMount(mount=mount, target=target, image=image, found=whole, digest=key)
        if path == "/":  # all of it: its layers say what that is
            digest = mixed(*image.diff_ids)
            return PlacedMount(mount=mount, target=target, image=image, found=whole, digest=digest)
        async with (
            self._workbench.container(image, RunConfig()) as container,
            self._workbench.reading(container) as root,
        ):
            found = await self._in_thread(partial(_existing, root, path))
            digest = await self._in_thread(partial(hash_sources, root, [found]))
        return PlacedMount(mount=mount, target=target, image=image, found=found, digest=digest)

    async def _bind(self, placed: PlacedMount) -> Mount:
        mount, image, found = placed.mount, placed.image, placed.found
        if found is None:
            return _bind_mount(await self._aside(), placed.target, mount.is_read_only)
        if image is None:
            if mount.is_read_only:
                place = await self._in_thread(partial(_host_path, self._context.root, found.path))
                return _bind_mount(place, placed.target, is_read_only=True)
            return await self._copied(self._context.root, found, placed.target, is_read_only=False)
        # An id alone would mean the platform of this machine.
        is_for_here = (
            image.target.media_type not in INDEX_TYPES or image.platform == host_platform()
        )
        if mount.is_read_only and is_for_here:
            return Mount(
                type="image",
                source=image.id,
                target=placed.target,
                read_only=True,
                image_options=ImageOptions(subpath=found.path.lstrip("/")),
            )
        async with (
            self._workbench.container(image, RunConfig()) as container,
            self._workbench.reading(container) as root,
        ):
            return await self._copied(root, found, placed.target, is_read_only=mount.is_read_only)

    async def _copied(self, root: Root, found: Source, target: str, *, is_read_only: bool) -> Mount:
        """A copy, which goes with the build."""
        aside = await self._aside()

        def copy() -> None:
            with Root(fd=os.open(aside, PLACE | os.O_DIRECTORY)) as there:
                copy_sources(root, [found], there, "/", Rules())

        await self._in_thread(copy)
        place = aside if found.is_directory else aside / found.name
        return _bind_mount(place, target, is_read_only)

    async def _aside(self) -> Path:
        """A directory of the build's own."""
        return await self._in_thread(self._context.make_aside)

    def _wish(self, placed: PlacedMount, description: str) -> CacheWish:
        mount = placed.mount
        name = mount.id or posixpath.normpath(mount.target)
        path = _clean(mount.source)
        owner = (
            mount.uid or 0,
            mount.gid or 0,
            _DEFAULT_MODE if mount.mode is None else mount.mode,
        )
        is_owned = mount.has_owner and path == "/"  # as BuildKit: else the base says whose it is
        key = mixed(self._namespace, name, placed.digest, path, owner if is_owned else "")

        async def fill(directory: Path) -> None:
            if placed.image is not None and not is_owned:
                await self._fill(directory, placed.image, path)
            else:
                await self._in_thread(partial(_own, directory, *owner))

        shown = f" with id {mount.id!r}" if mount.id else ""
        return CacheWish(
            key=key,
            sharing=mount.sharing,
            description=f"cached mount {placed.target} from exec {description}{shown}"[:2000],
            fill=fill,
        )

    async def _fill(self, directory: Path, image: Image, path: str) -> None:
        """What a cache begins with: a directory of an image."""

        def copy(root: Root) -> None:
            found = _existing(root, path)
            if not found.is_directory:
                raise InvalidParameter(f"cache mount source {path} is not a directory")
            with root.opened(found.path, PLACE) as opened:
                status = os.fstat(opened)
            with Root(fd=os.open(directory, PLACE | os.O_DIRECTORY)) as there:
                copy_tree(root, found.path, None, there, "/", Rules())
            _own(directory, status.st_uid, status.st_gid, status.st_mode & 0o7777)

        async with (
            self._workbench.container(image, RunConfig()) as container,
            self._workbench.reading(container) as root,
        ):
            await self._in_thread(partial(copy, root))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def targets_of(host: HostConfig) -> list[str]:
    """Where something is mounted by `RunMounts.ready`."""
    mounts = () if host.mounts is msgspec.UNSET else host.mounts or ()
    tmpfs = () if host.tmpfs is msgspec.UNSET else host.tmpfs or ()
    return [*(mount.target for mount in mounts), *tmpfs]


def _place(mount: RunMount, working_directory: str) -> str:
    path = _clean(posixpath.join(working_directory, mount.target))
    if path == "/":
        raise InvalidParameter('invalid mount target "/"')
    return path


def _clean(path: str) -> str:
    """From the root; normpath alone keeps two slashes at the beginning."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def _existing(root: Root, path: str) -> Source:
    found = source_at(root, path)
    if found is None:
        raise _not_found(path)
    return found


def _not_found(path: str) -> InvalidParameter:
    return InvalidParameter(f'failed to calculate checksum: "{path}": not found')


def _host_path(root: Root, path: str) -> Path:
    """Where a real path of the context lies on the host."""
    return Path(os.readlink(f"/proc/self/fd/{root.fd}"), path.lstrip("/"))


def _bind_mount(source: Path, target: str, is_read_only: bool) -> Mount:
    return Mount(
        type="bind",
        source=str(source),
        target=target,
        read_only=is_read_only,
        bind_options=BindOptions(non_recursive=True),
    )


def _tmpfs_options(mount: RunMount) -> str:
    """Unlike a container's a build's may hold programs and devices."""
    words = ["exec", "dev"]
    if mount.size_bytes:
        words.append(f"size={mount.size_bytes}")
    return ",".join([*words, "ro"] if mount.is_read_only else words)


def _own(directory: Path, uid: int, gid: int, mode: int) -> None:
    os.chown(directory, uid, gid)
    directory.chmod(mode)
