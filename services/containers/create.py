"""Making a container: everything is checked before anything is made, and the row comes last.

Killed before the row is written, the next daemon finds a snapshot and a directory that no row
names, and takes them away.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from services.containerd import Mount
from services.containers.container import Container
from services.containers.definitions import CreateRequest, Definer
from services.containers.image_points import image_mounts, snapshot_key, snapshot_keys
from services.containers.init_layer import fill_init_layer
from services.containers.journal import Journal, container_event
from services.containers.model import ContainerId, Definition, Status
from services.containers.names import checked_name, made_up_name, new_id
from services.containers.table import ContainerTable
from services.containers.volume_points import request_of, with_volumes
from services.errors import EngineError, InvalidParameter, single_error
from services.images import Image
from services.images.platform import Platform, host_platform, parse_specifier, rank
from services.volumes import Volumes

SNAPSHOT_OWNER_LABEL: Final = "io.wharfinger.container"
UNDO_LIMIT_S: Final = 20.0


class ImageStore(Protocol):
    """What a create needs of the images service."""

    async def resolve(self, ref: str) -> Image:
        """The image that a user's text names."""

    async def of_platform(self, image: Image, platform: Platform, ref: str) -> Image:
        """The image as one of its platforms has it."""

    async def prepare_rootfs(
        self, image: Image, key: str, labels: dict[str, str]
    ) -> Sequence[Mount]:
        """A writable snapshot on top of the image."""

    async def prepare_view(self, image: Image, key: str, labels: dict[str, str]) -> Sequence[Mount]:
        """A snapshot of the image that is only read."""

    async def remove_rootfs(self, key: str) -> None:
        """Drop it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What came of it; the warnings are for people."""

    container: Container
    warnings: list[str]


class Creator:
    """Makes containers."""

    def __init__(
        self,
        *,
        table: ContainerTable,
        journal: Journal,
        images: ImageStore,
        definer: Definer,
        volumes: Volumes,
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._table = table
        self._journal = journal
        self._images = images
        self._definer = definer
        self._volumes = volumes
        self._directory = directory
        self._disk = disk

    async def create(self, request: CreateRequest) -> Created:
        """Make a container. Source: Engine API, POST /containers/create.

        Raises:
            InvalidParameter: a name or setting that no container can have.
            NotFound: there is no such image or network.
            Conflict: somebody has the name.
        """
        if request.name:
            checked_name(request.name)
        image = await self._image(request.config.image, request.platform)
        container_id = new_id()
        definition, warnings = await self._definer.define(request, image, container_id)
        warnings = [*_platform_warnings(image, request.platform), *warnings]
        name = self._reserve_name(request.name, container_id)
        definition = msgspec.structs.replace(definition, name=name)
        try:
            container = await self._make_with_volumes(definition, image, request)
        except BaseException:
            self._table.release_name(name, container_id)
            raise
        return Created(container=container, warnings=warnings)

    async def _image(self, ref: str, platform: str) -> Image:
        wanted = parse_specifier(platform, host_platform()) if platform else None
        if not ref:
            raise InvalidParameter("invalid reference format")
        image = await self._images.resolve(ref)
        return image if wanted is None else await self._images.of_platform(image, wanted, ref)

    def _reserve_name(self, wanted: str, container_id: ContainerId) -> str:
        name = checked_name(wanted) if wanted else made_up_name(self._table.is_name_taken)
        self._table.reserve_name(name, container_id)
        return name

    async def _make_with_volumes(
        self, definition: Definition, image: Image, request: CreateRequest
    ) -> Container:
        requests = [request_of(point) for point in definition.mounts if point.type == "volume"]
        if not requests:
            return await self._make(definition, image, fills=request.is_to_run)
        async with self._volumes.provided(definition.id, requests) as provided:
            mounts = with_volumes(definition.mounts, provided.volumes, self._volumes.place)
            definition = msgspec.structs.replace(definition, mounts=mounts)
            return await self._make(definition, image, fills=request.is_to_run, also=provided.claim)

    async def _make(
        self,
        definition: Definition,
        image: Image,
        *,
        fills: bool,
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Container:
        container = Container(definition, Status())
        directory = self._directory / definition.id
        images = [
            (snapshot_key(definition.id, number), await self._images.resolve(point.name))
            for number, point in image_mounts(definition)
        ]
        labels: dict[str, str] = {SNAPSHOT_OWNER_LABEL: definition.id}
        # The client may leave in the middle; what is half made must be finished or undone.
        with trio.CancelScope(shield=True):
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self._undo, definition, directory)
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._make_directory, directory)
                        mounts = await self._images.prepare_rootfs(image, definition.id, labels)
                        for key, mounted in images:
                            await self._images.prepare_view(mounted, key, labels)
                        if fills:
                            fill = partial(fill_init_layer, mounts)
                            await trio.to_thread.run_sync(fill, limiter=self._disk)
                for point in definition.mounts:
                    if point.type == "volume" and point.copy_data:
                        await self._volumes.fill(point.name, mounts, point.destination)
                created = container_event(container, "create")
                await self._journal.insert(container, created, also=also)
                undo.pop_all()
        self._table.add(container)
        return container

    async def _make_directory(self, directory: Path) -> None:
        make = partial(directory.mkdir, mode=0o710, parents=True)
        await trio.to_thread.run_sync(make, limiter=self._disk)

    async def _undo(self, definition: Definition, directory: Path) -> None:
        with trio.move_on_after(UNDO_LIMIT_S):
            try:
                for key in snapshot_keys(definition):
                    await self._images.remove_rootfs(key)
            except EngineError:  # found and taken away at the next start
                return
            remove = partial(shutil.rmtree, directory, ignore_errors=True)
            await trio.to_thread.run_sync(remove, limiter=self._disk)


def _platform_warnings(image: Image, asked: str) -> list[str]:
    """dockerd's, for an image that this machine is not likely to run, and nobody has asked for."""
    host = host_platform()
    if asked or not image.platform.architecture or rank(image.platform, host) is not None:
        return []
    return [
        f"The requested image's platform ({image.platform}) does not match the detected host "
        f"platform ({host}) and no specific platform was requested"
    ]
