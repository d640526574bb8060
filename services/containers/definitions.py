"""What a container is to be: all that a request asks for, checked, and made whole from the image,
the host and the daemon's settings. Nothing is made yet.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import msgspec
import trio

from services.containers import spec
from services.containers.config import ContainerConfig, HostConfig, NetworkingConfig
from services.containers.image_points import with_reference
from services.containers.joining import by_id
from services.containers.labels import check_labels
from services.containers.log_choice import check_log
from services.containers.logs.options import CACHE_KEYS
from services.containers.merge import command_of, merge_image_config
from services.containers.model import SHORT_ID, ContainerId, Definition, ImageDescriptor
from services.containers.networking.links import resolve_links
from services.containers.networking.published import requested_ports
from services.containers.networking.settings import NetworkNames, check_networking
from services.containers.spec import MountPoint, SpecDefaults
from services.containers.table import ContainerTable
from services.containers.volume_points import all_points, points_from_others
from services.errors import InvalidParameter
from services.images import Image
from services.images.platform import Platform
from services.system import HostFacts


class Networks(NetworkNames, Protocol):
    """What a create needs of the networks service."""

    @property
    def default_mode(self) -> str:
        """The network of a container that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """What POST /containers/create asks for. `platform` "" is any.

    `read_only_below`: a read-only bind is so with the mounts below it, unless it says otherwise.
    Without `is_to_run` it has its image's files alone, not those that programs look for besides.
    """

    name: str = ""
    platform: str = ""
    config: ContainerConfig
    host_config: HostConfig
    networking: NetworkingConfig = field(default_factory=NetworkingConfig)
    read_only_below: bool = True
    is_to_run: bool = True


class Definer:
    """Makes definitions."""

    def __init__(
        self,
        *,
        table: ContainerTable,
        networks: Networks,
        facts: HostFacts,
        defaults: Callable[[], SpecDefaults],
        log_defaults: Callable[[], tuple[str, Mapping[str, str]]],
        snapshotter: str,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`defaults` and `log_defaults`, a driver with its options, are asked at each create."""
        self._table = table
        self._networks = networks
        self._facts = facts
        self._defaults = defaults
        self._log_defaults = log_defaults
        self._snapshotter = snapshotter
        self._disk = disk

    async def define(
        self, request: CreateRequest, image: Image, container_id: ContainerId
    ) -> tuple[Definition, list[str]]:
        """A definition without a name, and warnings for people.

        Raises:
            InvalidParameter: a setting that no container can have.
            NotFound: there is no such network, or container to share with.
        """
        defaults = self._defaults()  # once: a reload may change them while we wait below
        config = merge_image_config(request.config, image.config.config)
        check_labels(config.labels)
        host = by_id(request.host_config, self._table)
        host = spec.adapt_host_config(host, self._facts, defaults)
        mode = host.network_mode
        mode = self._networks.default_mode if mode in ("", "default") else mode
        host = msgspec.structs.replace(host, network_mode=mode)
        host, warnings = spec.validate(config, host, self._facts, defaults)
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
        await trio.to_thread.run_sync(partial(spec.check_bind_sources, mounts), limiter=self._disk)
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
            spec.parse_mounts(host, data_root=defaults.data_root),
            points_from_others(host.volumes_from or (), self._table.find),
            config,
            volume_driver=host.volume_driver,
            tmpfs={spec.clean_path(path) for path in tmpfs},
        )
        return [with_reference(mount) if mount.type == "image" else mount for mount in mounts]


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
