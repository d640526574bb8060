"""The host's side of a container's volumes while it runs: mounted, parts of them found safely."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from services.containerd import Mount
from services.containers.added_mounts import AddedMounts
from services.containers.container import Container
from services.containers.image_points import image_mounts, snapshot_key
from services.containers.spec import MountPoint
from services.containers.volume_points import volume_names
from services.errors import EngineError
from services.events import Event
from services.system.bind_mounts import bind, unbind
from services.system.in_root import open_in_root
from services.system.roots import mount_root


class VolumeUse(Protocol):
    """What running containers need of the volumes."""

    async def acquire(self, container_id: str, names: Iterable[str]) -> None:
        """Mount what must be mounted."""

    async def release(self, container_id: str) -> None:
        """The container runs no more."""

    def adopt(self, container_id: str, names: Iterable[str]) -> None:
        """It was found running."""


class Snapshots(Protocol):
    """What is needed of the images."""

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """How to mount a snapshot."""


class MountSources:
    """What the mounts of running containers stand on."""

    def __init__(
        self,
        *,
        volumes: VolumeUse,
        images: Snapshots,
        added: AddedMounts,
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`directory` is for mounts that last as long as a start."""
        self._volumes = volumes
        self._images = images
        self._added = added
        self._directory = directory
        self._disk = disk

    async def acquire(self, container: Container) -> None:
        """Its volumes can be used until `release`. Raises as `Volumes.acquire`."""
        if names := volume_names(container.definition):
            await self._volumes.acquire(container.id, names)

    async def release(self, container: Container) -> None:
        """It runs no more; it may never have."""
        await self._volumes.release(container.id)
        await self._added.release(container)

    def adopt(self, container: Container) -> None:
        """It was found running."""
        self._volumes.adopt(container.id, volume_names(container.definition))

    @asynccontextmanager
    async def opened(self, container: Container) -> AsyncIterator[Sequence[MountPoint]]:
        """Its mounts with sources that the runtime can take, as long as the block lasts.

        A part of a volume is opened here, every link taken as inside the volume, and mounted at a
        place of ours: what somebody puts in its place later cannot lead elsewhere. So is an image,
        or a part of it.

        Raises:
            EngineError: there is no such part.
        """
        points = [*container.definition.mounts, *await self._added.points(container)]
        images = {
            number: await self._images.rootfs_mounts(snapshot_key(container.id, number))
            for number, _ in image_mounts(container.definition)
        }
        if not images and not any(point.subpath for point in points if point.type == "volume"):
            yield points
            return
        stack = ExitStack()
        place = self._directory / container.id
        try:
            resolve = partial(_resolve, points, images, place, stack)
            yield await trio.to_thread.run_sync(resolve, limiter=self._disk)
        finally:
            with trio.CancelScope(shield=True):  # unmounting is a matter of microseconds
                await trio.to_thread.run_sync(stack.close, limiter=self._disk)

    async def reclaim(self) -> None:
        """Take away what starts that were killed have left; nothing may be starting."""
        await trio.to_thread.run_sync(_unbind_all, self._directory, limiter=self._disk)


def volume_events(container: Container, action: str, *, time_ns: int | None = None) -> list[Event]:
    """dockerd's events about the volumes that a container mounts or unmounts."""
    at_ns = time.time_ns() if time_ns is None else time_ns
    return [
        Event(
            type="volume",
            action=action,
            actor_id=point.name,
            attributes=_attributes(container, point, action),
            time_ns=at_ns,
        )
        for point in container.definition.mounts
        if point.type == "volume"
    ]


def _attributes(container: Container, point: MountPoint, action: str) -> dict[str, str]:
    attributes = {"container": container.id, "driver": point.driver}
    if action == "mount":
        attributes |= {
            "destination": point.destination,
            "propagation": point.propagation,
            "read/write": str(point.rw).lower(),
        }
    return attributes


def _resolve(
    points: Iterable[MountPoint],
    images: Mapping[int, Sequence[Mount]],
    place: Path,
    stack: ExitStack,
) -> list[MountPoint]:
    stack.callback(_remove_empty, place)
    resolved = []
    for number, point in enumerate(points):
        target = place / str(number)
        if point.type == "image":
            source = _mounted_image(point, images[number], target, stack)
            resolved.append(replace(point, source=str(source)))
        elif point.type == "volume" and point.subpath:
            what = f"volume {point.name}"
            source = _bound_part(Path(point.source), point.subpath, what, target, stack)
            resolved.append(replace(point, source=str(source)))
        else:
            resolved.append(point)
    return resolved


def _mounted_image(
    point: MountPoint, mounts: Sequence[Mount], target: Path, stack: ExitStack
) -> Path:
    mount_root(mounts, target)
    stack.callback(unbind, target)
    if not point.subpath:
        return target
    part = target.with_name(f"{target.name}-part")
    return _bound_part(target, point.subpath, f"image {point.name}", part, stack)


def _bound_part(root: Path, subpath: str, what: str, target: Path, stack: ExitStack) -> Path:
    """A part of a directory tree, mounted at a place of ours; no link leads out of the tree."""
    try:
        opened = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with _closed_after(opened):
            part = open_in_root(opened, subpath)
        with _closed_after(part):
            bind(part, target)
    except OSError as error:
        raise EngineError(
            f"cannot access path {subpath} of {what}: {(error.strerror or '').lower()}"
        ) from error
    stack.callback(unbind, target)
    return target


def _unbind_all(directory: Path) -> None:
    for place in directory.iterdir() if directory.is_dir() else ():
        for target in place.iterdir():
            unbind(target)
        _remove_empty(place)


def _remove_empty(place: Path) -> None:
    with suppress(OSError):
        place.rmdir()


@contextmanager
def _closed_after(opened: int) -> Iterator[None]:
    """Close a descriptor at the end of the block."""
    try:
        yield
    finally:
        os.close(opened)
