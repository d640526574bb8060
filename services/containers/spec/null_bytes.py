"""Paths with a null byte in them: no kernel takes them, and Python says so late and rudely."""

from __future__ import annotations

from collections.abc import Iterator

from services.containers.config import ContainerConfig, HostConfig
from services.errors import InvalidParameter


def check_null_bytes(config: ContainerConfig, host: HostConfig) -> None:
    """Refuse them before anything is made. Raises InvalidParameter."""
    for path in _paths(config, host):
        if "\x00" in path:
            raise InvalidParameter(f"invalid path {path!r}: it has a null byte")


def _paths(config: ContainerConfig, host: HostConfig) -> Iterator[str]:
    yield from host.binds or ()
    yield from host.tmpfs or ()
    yield from config.volumes or ()
    yield host.cgroup_parent
    yield config.working_dir or ""
    for mount in host.mounts or ():
        yield mount.source
        yield mount.target
    for device in host.devices or ():
        yield device.path_on_host
        yield device.path_in_container
