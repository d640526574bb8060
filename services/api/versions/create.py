"""What a create request of an older API means today: one row for each thing that changed.

A member that its version did not know is passed over, a default that was another one is put in,
what was valid then is made valid, and what is not any more is refused in dockerd's words.

Source: moby, daemon/server/router/container (postContainersCreate) and api/docs/CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from services.api.versions.create_draft import Draft
from services.api.versions.create_mounts import (
    foreign_options_dropped,
    foreign_options_refused,
    no_create_mountpoint,
    no_image_mounts,
    no_volume_subpath,
    read_only_without_below,
    recursive_binds,
    volume_driver_warning,
)
from services.api.versions.create_networks import (
    any_host_port,
    any_host_port_with_warning,
    container_wide_mac,
    deprecated_mac,
    migrated_sysctls,
    no_gateway_priority,
    no_host_port,
    no_interface_sysctls,
    one_network,
    settings_for_each,
)
from services.api.versions.version import ApiVersion, VersionRow
from services.containers.config import HealthConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(VersionRow):
    """`change` makes of the request what the present version would say."""

    change: Callable[[Draft], Draft]


def adapted(draft: Draft, version: ApiVersion) -> Draft:
    """The request as the present version would say it.

    Raises:
        InvalidParameter: this version does not have what the request asks for.
    """
    for row in ROWS:
        if row.is_for(version):
            draft = row.change(draft)
    return draft


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _no_auto_remove(draft: Draft) -> Draft:
    return draft.with_host(auto_remove=False)


def _no_kernel_memory_tcp(draft: Draft) -> Draft:
    return draft.with_host(kernel_memory_tcp=0)


def _shareable_ipc(draft: Draft) -> Draft:
    return draft if draft.body.host_config.ipc_mode else draft.with_host(ipc_mode="shareable")


def _host_cgroupns(draft: Draft) -> Draft:
    is_open = draft.cgroup_v1 and not draft.body.host_config.cgroupns_mode
    return draft.with_host(cgroupns_mode="host") if is_open else draft


def _no_console_size(draft: Draft) -> Draft:
    return draft.with_host(console_size=(0, 0))


def _no_kernel_memory(draft: Draft) -> Draft:
    return draft.with_host(kernel_memory=0)


def _no_annotations(draft: Draft) -> Draft:
    return draft.with_host(annotations=msgspec.UNSET)


def _no_start_interval(draft: Draft) -> Draft:
    health = draft.body.healthcheck
    if not isinstance(health, HealthConfig):
        return draft
    health = msgspec.structs.replace(health, start_interval=0)
    return draft._replace(body=msgspec.structs.replace(draft.body, healthcheck=health))


def _unlimited_pids(draft: Draft) -> Draft:
    limit = draft.body.host_config.pids_limit
    return draft.with_host(pids_limit=None) if limit is not None and limit <= 0 else draft


ROWS: Final = (
    Row(what="AutoRemove is the client's affair", below=_v(25), change=_no_auto_remove),
    Row(what="no BindOptions.NonRecursive", below=_v(40), change=recursive_binds),
    Row(what="no KernelMemoryTCP", below=_v(40), change=_no_kernel_memory_tcp),
    Row(what="IpcMode is shareable by default", below=_v(40), change=_shareable_ipc),
    Row(what="CgroupnsMode is host on cgroup v1", below=_v(41), change=_host_cgroupns),
    Row(what="no BindOptions.CreateMountpoint", below=_v(42), change=no_create_mountpoint),
    Row(what="another mount type's options", below=_v(42), change=foreign_options_dropped),
    Row(what="no ConsoleSize on Linux", below=_v(42), change=_no_console_size),
    Row(what="another mount type's options", since=_v(42), change=foreign_options_refused),
    Row(what="KernelMemory was removed", since=_v(42), change=_no_kernel_memory),
    Row(what="no Annotations", below=_v(43), change=_no_annotations),
    Row(what="no Healthcheck.StartInterval", below=_v(44), change=_no_start_interval),
    Row(what="ReadOnly was not recursive", below=_v(44), change=read_only_without_below),
    Row(what="one network only", below=_v(44), change=one_network),
    Row(what="a network needs settings", below=_v(44), change=settings_for_each),
    Row(what="MacAddress is the container's", below=_v(44), change=container_wide_mac),
    Row(what="MacAddress is a network's", since=_v(44), below=_v(52), change=deprecated_mac),
    Row(what="no VolumeOptions.Subpath", below=_v(45), change=no_volume_subpath),
    Row(what="no GwPriority", below=_v(48), change=no_gateway_priority),
    Row(what="no mounts of type image", below=_v(48), change=no_image_mounts),
    Row(what="sysctls of eth0 are migrated", below=_v(48), change=migrated_sysctls),
    Row(what="sysctls of eth0 are a driver's", since=_v(48), change=no_interface_sysctls),
    Row(what="VolumeDriver is warned of", since=_v(48), change=volume_driver_warning),
    Row(what="KernelMemoryTCP was removed", since=_v(52), change=_no_kernel_memory_tcp),
    Row(what="empty PortBindings are any", below=_v(52), change=any_host_port),
    Row(
        what="empty PortBindings are any, and warned of",
        since=_v(52),
        below=_v(53),
        change=any_host_port_with_warning,
    ),
    Row(what="empty PortBindings are none", since=_v(53), change=no_host_port),
    Row(what="PidsLimit of 0 and less is none", change=_unlimited_pids),
)
