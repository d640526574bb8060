"""Making a container: everything is checked before anything is made, and the row comes last.

Killed before the row is written, the next daemon finds a snapshot and a directory that no row
names, and takes them away.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from services.containerd import Mount
from services.containers.config import ContainerConfig, HostConfig, NetworkingConfig
from services.containers.container import Container
from services.containers.joining import by_id
from services.containers.journal import Journal, container_event
from services.containers.labels import check_labels
from services.containers.links import resolve_links
from services.containers.log_choice import check_log
from services.containers.logs.options import CACHE_KEYS
from services.containers.merge import command_of, merge_image_config
from services.containers.model import (
    SHORT_ID,
    ContainerId,
    Definition,
    ImageDescriptor,
    Status,
)
from services.containers.names import checked_name, made_up_name, new_id
from services.containers.networking import NetworkNames, check_networking
from services.containers.published import requested_ports
from services.containers.spec import (
    MountPoint,
    SpecDefaults,
    adapt_host_config,
    check_bind_sources,
    parse_mounts,
    validate,
)
from services.containers.spec.mounts import clean_path
from services.containers.table import ContainerTable
from services.containers.volume_points import (
    all_points,
    points_from_others,
    request_of,
    with_volumes,
)
from services.errors import EngineError, InvalidParameter, NotSupported, single_error
from services.images import Image
from services.images.platform import Platform, host_platform, parse_specifier, rank
from services.system import HostFacts
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

    async def remove_rootfs(self, key: str) -> None:
        """Drop it again."""


class Networks(NetworkNames, Protocol):
    """What a create needs of the networks service."""

    @property
    def default_mode(self) -> str:
        """The network of a container that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """What POST /containers/create asks for. `platform` "" is any.

    `read_only_below`: a read-only bind is so with the mounts below it, unless it says otherwise.
    """

    name: str = ""
    platform: str = ""
    config: ContainerConfig
    host_config: HostConfig
    networking: NetworkingConfig = field(default_factory=NetworkingConfig)
    read_only_below: bool = True


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
        networks: Networks,
        volumes: Volumes,
        facts: HostFacts,
        defaults: Callable[[], SpecDefaults],
        log_defaults: Callable[[], tuple[str, Mapping[str, str]]],
        snapshotter: str,
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`defaults` and `log_defaults`, a driver with its options, are asked at each create."""
        self._table = table
        self._journal = journal
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._facts = facts
        self._defaults = defaults
        self._log_defaults = log_defaults
        self._snapshotter = snapshotter
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
        definition, warnings = await self._define(request, image, container_id)
        warnings = [*_platform_warnings(image, request.platform), *warnings]
        name = self._reserve_name(request.name, container_id)
        definition = msgspec.structs.replace(definition, name=name)
        try:
            container = await self._make_with_volumes(definition, image)
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

    async def _define(
        self, request: CreateRequest, image: Image, container_id: ContainerId
    ) -> tuple[Definition, list[str]]:
        defaults = self._defaults()  # once: a reload may change them while we wait below
        config = merge_image_config(request.config, image.config.config)
        check_labels(config.labels)
        host = by_id(request.host_config, self._table)
        host = adapt_host_config(host, self._facts, defaults)
        mode = host.network_mode
        mode = self._networks.default_mode if mode in ("", "default") else mode
        host = msgspec.structs.replace(host, network_mode=mode)
        host, warnings = validate(config, host, self._facts, defaults)
        requested_ports(host, config.exposed_ports or {})  # what cannot be is said now
        # Elsewhere links are a network's own affair.
        links = resolve_links(host, self._table) if mode == "bridge" else []
        host = msgspec.structs.replace(host, links=None)  # kept by id instead
        config = self._with_hostname(config, host, container_id)
        command = command_of(config)
        if not command:
            raise InvalidParameter("no command specified")
        driver, options = self._log_settings(host)
        mounts = self._mounts(config, host, defaults)
        if not request.read_only_below:
            mounts = [_read_only_alone(mount) for mount in mounts]
        await trio.to_thread.run_sync(partial(check_bind_sources, mounts), limiter=self._disk)
        definition = Definition(
            id=container_id,
            name="",
            created_at_ns=time.time_ns(),
            config=config,
            host_config=host,
            path=command[0],
            args=command[1:],
            image_id=image.id,
            image_manifest=_manifest(image),
            os=image.platform.os or "linux",
            snapshotter=self._snapshotter,
            runtime=host.runtime or defaults.default_runtime,
            mounts=mounts,
            networks=(
                {}
                if config.network_disabled is True
                else check_networking(request.networking, mode, self._networks)
            ),
            log_driver=driver,
            log_options=options,
            links=links,
        )
        check_log(definition)
        return definition, warnings

    def _with_hostname(
        self, config: ContainerConfig, host: HostConfig, container_id: ContainerId
    ) -> ContainerConfig:
        if config.hostname:
            return config
        is_hosts = host.network_mode == "host"
        hostname = socket.gethostname() if is_hosts else container_id[:SHORT_ID]
        return msgspec.structs.replace(config, hostname=hostname)

    def _log_settings(self, host: HostConfig) -> tuple[str, dict[str, str]]:
        """The driver and its options; the daemon's options go with the daemon's driver only."""
        usual, options = self._log_defaults()
        driver = host.log_config.type or usual
        inherited = {
            key: value for key, value in options.items() if driver == usual or key in CACHE_KEYS
        }
        return driver, {**inherited, **host.log_config.config}

    def _mounts(
        self, config: ContainerConfig, host: HostConfig, defaults: SpecDefaults
    ) -> list[MountPoint]:
        tmpfs = () if host.tmpfs is msgspec.UNSET else host.tmpfs or ()
        mounts = all_points(
            parse_mounts(host, data_root=defaults.data_root),
            points_from_others(host.volumes_from or (), self._table.find),
            config,
            volume_driver=host.volume_driver,
            tmpfs={clean_path(path) for path in tmpfs},
        )
        for mount in mounts:
            if mount.type not in ("bind", "tmpfs", "volume"):
                raise NotSupported(
                    f"mounts of type {mount.type} are not supported yet (at {mount.destination}); "
                    "use a bind mount or a volume"
                )
        return mounts

    async def _make_with_volumes(self, definition: Definition, image: Image) -> Container:
        requests = [request_of(point) for point in definition.mounts if point.type == "volume"]
        if not requests:
            return await self._make(definition, image)
        async with self._volumes.provided(definition.id, requests) as provided:
            mounts = with_volumes(definition.mounts, provided.volumes, self._volumes.place)
            definition = msgspec.structs.replace(definition, mounts=mounts)
            return await self._make(definition, image, also=provided.claim)

    async def _make(
        self,
        definition: Definition,
        image: Image,
        *,
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Container:
        container = Container(definition, Status())
        directory = self._directory / definition.id
        # The client may leave in the middle; what is half made must be finished or undone.
        with trio.CancelScope(shield=True):
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self._undo, definition.id, directory)
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._make_directory, directory)
                        mounts = await self._images.prepare_rootfs(
                            image, definition.id, {SNAPSHOT_OWNER_LABEL: definition.id}
                        )
                        mark = partial(mark_as_container, mounts)
                        await trio.to_thread.run_sync(mark, limiter=self._disk)
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

    async def _undo(self, container_id: ContainerId, directory: Path) -> None:
        with trio.move_on_after(UNDO_LIMIT_S):
            try:
                await self._images.remove_rootfs(container_id)
            except EngineError:  # found and taken away at the next start
                return
            remove = partial(shutil.rmtree, directory, ignore_errors=True)
            await trio.to_thread.run_sync(remove, limiter=self._disk)


def mark_as_container(mounts: Sequence[Mount]) -> None:
    """Make /.dockerenv, by which programs know that they run in a container. Blocks.

    The layer that can be written is new and empty, so no link can lead the path elsewhere.
    """
    for mount in mounts:
        upper = (o.removeprefix("upperdir=") for o in mount.options if o.startswith("upperdir="))
        writable = next(upper, mount.source if mount.type == "bind" else "")
        if writable:
            (Path(writable) / ".dockerenv").touch(mode=0o755)


def _read_only_alone(mount: MountPoint) -> MountPoint:
    """A read-only bind as it was before API 1.44: what is mounted below it may be written to."""
    is_open = mount.type == "bind" and not mount.rw and mount.read_only_recursive is None
    return dataclasses.replace(mount, read_only_recursive=False) if is_open else mount


def _manifest(image: Image) -> ImageDescriptor | None:
    if image.manifest is None:
        return None
    return ImageDescriptor(
        media_type=image.manifest.media_type,
        digest=image.manifest.digest,
        size=image.manifest.size,
        platform=_platform(image.platform),
    )


def _platform(platform: Platform) -> dict[str, str]:
    wire = {"architecture": platform.architecture, "os": platform.os}
    return wire | ({"variant": platform.variant} if platform.variant else {})


def _platform_warnings(image: Image, asked: str) -> list[str]:
    """dockerd's, for an image that this machine is not likely to run, and nobody has asked for."""
    host = host_platform()
    if asked or not image.platform.architecture or rank(image.platform, host) is not None:
        return []
    return [
        f"The requested image's platform ({image.platform}) does not match the detected host "
        f"platform ({host}) and no specific platform was requested"
    ]
