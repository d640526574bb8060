"""Limits of block devices, changed in the cgroup of a container that runs. Blocks.

runc's update knows nothing of them: it puts those of the start back. So after each update the
kernel's lists are made those of the container's configuration, in both versions' files.

Source: Linux, Documentation/admin-guide/cgroup-v1/blkio-controller.rst and cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from services.containers.cgroup_files import CgroupFiles
from services.containers.config import HostConfig
from services.containers.container import Container
from services.containers.spec import read_block_numbers

DEVICE_LIMITS: Final = (
    "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps",
    "blkio_device_read_iops", "blkio_device_write_iops",
)  # fmt: skip
"""Lists in HostConfig with one limit for each device."""

_V1_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "blkio_weight_device": ("blkio.bfq.weight_device", "blkio.weight_device"),
    "blkio_device_read_bps": ("blkio.throttle.read_bps_device",),
    "blkio_device_write_bps": ("blkio.throttle.write_bps_device",),
    "blkio_device_read_iops": ("blkio.throttle.read_iops_device",),
    "blkio_device_write_iops": ("blkio.throttle.write_iops_device",),
}
_V2_KEYS: Final[Mapping[str, str]] = {
    "blkio_device_read_bps": "rbps", "blkio_device_write_bps": "wbps",
    "blkio_device_read_iops": "riops", "blkio_device_write_iops": "wiops",
}  # fmt: skip


class DeviceLimits:
    """Writes them. Every method blocks."""

    def __init__(self, cgroups: CgroupFiles) -> None:
        self._cgroups = cgroups

    def hold(self, container: Container, host: HostConfig) -> None:
        """Make the kernel's limits of devices for `container` those of `host`.

        A list that is None says nothing, like an empty one.

        Raises:
            InvalidParameter: a device is missing.
            OSError: the kernel refuses.
        """
        wanted = wanted_limits(host, read_block_numbers(host))
        if self._cgroups.is_unified:
            self._hold_v2(self._cgroups.folder(container, "io"), wanted)
        else:
            self._hold_v1(self._cgroups.folder(container, "blkio"), wanted)

    def _hold_v1(self, folder: Path, wanted: Mapping[str, Mapping[str, int]]) -> None:
        for name, files in _V1_FILES.items():
            path = next((folder / file for file in files if (folder / file).exists()), None)
            if path is not None:
                present = _numbers_in(path, lambda words: words[1])
                _write_changes(path, present, wanted[name], lifted="0")

    def _hold_v2(self, folder: Path, wanted: Mapping[str, Mapping[str, int]]) -> None:
        if (path := folder / "io.max").exists():
            for name, key in _V2_KEYS.items():
                present = _numbers_in(path, partial(_rate_of, key))
                _write_changes(path, present, wanted[name], lifted="max", key=f"{key}=")
        if (path := folder / "io.bfq.weight").exists():
            present = _numbers_in(path, lambda words: words[1])
            _write_changes(path, present, wanted["blkio_weight_device"], lifted="default")


def wanted_limits(
    host: HostConfig, numbers: Mapping[str, tuple[int, int]]
) -> dict[str, dict[str, int]]:
    """For each kind the limit of each device, by "major:minor"."""
    limits: dict[str, dict[str, int]] = {name: {} for name in DEVICE_LIMITS}
    for name in DEVICE_LIMITS:
        for device in getattr(host, name) or ():
            major, minor = numbers[device.path]
            value = device.weight if name == "blkio_weight_device" else device.rate
            limits[name][f"{major}:{minor}"] = value
    return limits


def _numbers_in(path: Path, value: Callable[[list[str]], str]) -> dict[str, str]:
    """What the kernel has: lines such as "8:0 1048576"; others are of no device."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: value(words) for words in lines if len(words) > 1 and ":" in words[0]}


def _rate_of(key: str, words: list[str]) -> str:
    """One kind's rate in "8:0 rbps=1 wbps=max"."""
    pairs = {name: value for name, _, value in (word.partition("=") for word in words[1:])}
    return pairs.get(key, "max")


def _write_changes(
    path: Path, present: Mapping[str, str], wanted: Mapping[str, int], *, lifted: str, key: str = ""
) -> None:
    """One write for each device: the kernel takes one line at a time."""
    target = {**dict.fromkeys(present, lifted), **{d: str(limit) for d, limit in wanted.items()}}
    for device, limit in target.items():
        if present.get(device, lifted) != limit:
            path.write_text(f"{device} {key}{limit}")
