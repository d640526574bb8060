"""What an update request of an older API means today, row by row.

Source: moby, daemon/server/router/container (postContainerUpdate) and api/docs/CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from services.api.versions.version import ApiVersion, VersionRow
from services.containers.config import HostConfig

BLKIO_DEVICES: Final = (
    "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps",
    "blkio_device_read_iops", "blkio_device_write_iops",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRow(VersionRow):
    """`change` makes of the request what the present version would say."""

    change: Callable[[HostConfig], HostConfig]


def adapted_update(wanted: HostConfig, version: ApiVersion) -> HostConfig:
    """The request as the present version would say it."""
    for row in UPDATE_ROWS:
        if row.is_for(version):
            wanted = row.change(wanted)
    return wanted


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _passed_over(*names: str) -> Callable[[HostConfig], HostConfig]:
    """Members at their defaults, which change nothing."""
    defaults = {name: getattr(HostConfig(), name) for name in names}
    return partial(msgspec.structs.replace, **defaults)


def _unlimited_pids(wanted: HostConfig) -> HostConfig:
    limit = wanted.pids_limit
    is_unlimited = limit is not None and limit <= 0
    return msgspec.structs.replace(wanted, pids_limit=0) if is_unlimited else wanted


UPDATE_ROWS: Final = (
    UpdateRow(what="no PidsLimit", below=_v(40), change=_passed_over("pids_limit")),
    UpdateRow(what="no KernelMemoryTCP", below=_v(40), change=_passed_over("kernel_memory_tcp")),
    UpdateRow(what="KernelMemory was removed", since=_v(42), change=_passed_over("kernel_memory")),
    UpdateRow(
        what="KernelMemoryTCP was removed", since=_v(52), change=_passed_over("kernel_memory_tcp")
    ),
    UpdateRow(what="no devices' I/O", below=_v(55), change=_passed_over(*BLKIO_DEVICES)),
    UpdateRow(what="PidsLimit of 0 and less is unlimited", change=_unlimited_pids),
)
