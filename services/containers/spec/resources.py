"""The OCI `resources` object: cpu, memory, pids, blkio. Used at create and at update.

Source: moby, daemon/daemon_unix.go. Version 2 equivalents are worked out by the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.containers.config import HostConfig, ThrottleDevice
from services.containers.spec.values import Json

CFS_PERIOD_US: Final = 100_000


def container_resources(
    host: HostConfig, block_numbers: Mapping[str, tuple[int, int]] | None = None
) -> Json:
    """Limits that are set, without the device rules. Sections with nothing in them are left out.

    `block_numbers` has (major, minor) for each path that blkio limits name (KeyError without).
    """
    sections = {
        "memory": _memory(host),
        "cpu": _cpu(host),
        "pids": _pids(host.pids_limit),
        "blockIO": _block_io(host, block_numbers or {}),
    }
    return {name: section for name, section in sections.items() if section}


def swap_limit(memory: int, memory_swap: int) -> int:
    """MemorySwap as dockerd completes it: twice the memory by default. Bytes, -1 unlimited."""
    return memory * 2 if memory > 0 and memory_swap == 0 else memory_swap


def _memory(host: HostConfig) -> Json:
    section: Json = {}
    if host.memory > 0:
        section["limit"] = host.memory
    if host.memory_reservation > 0:
        section["reservation"] = host.memory_reservation
    if host.memory_swap > 0 or (host.memory_swap == -1 and host.memory > 0):
        section["swap"] = host.memory_swap
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        section["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable is not None:
        section["disableOOMKiller"] = host.oom_kill_disable
    if host.kernel_memory:
        section["kernel"] = host.kernel_memory
    if host.kernel_memory_tcp:
        section["kernelTCP"] = host.kernel_memory_tcp
    return section


def _cpu(host: HostConfig) -> Json:
    section: Json = {}
    if host.cpu_shares > 0:
        section["shares"] = host.cpu_shares
    if host.nano_cpus > 0:
        section["period"] = CFS_PERIOD_US
        section["quota"] = host.nano_cpus * CFS_PERIOD_US // 1_000_000_000
    if host.cpu_period:
        section["period"] = host.cpu_period
    if host.cpu_quota:
        section["quota"] = host.cpu_quota
    if host.cpu_realtime_period:
        section["realtimePeriod"] = host.cpu_realtime_period
    if host.cpu_realtime_runtime:
        section["realtimeRuntime"] = host.cpu_realtime_runtime
    if host.cpuset_cpus:
        section["cpus"] = host.cpuset_cpus
    if host.cpuset_mems:
        section["mems"] = host.cpuset_mems
    return section


def _pids(limit: int | None) -> Json:
    """0 and below mean unlimited, which the runtime spells -1; None leaves the cgroup as it is."""
    return {} if limit is None else {"limit": limit if limit > 0 else -1}


def _block_io(host: HostConfig, numbers: Mapping[str, tuple[int, int]]) -> Json:
    def throttles(devices: Sequence[ThrottleDevice] | None) -> list[Json]:
        return [{**_numbers(d.path, numbers), "rate": d.rate} for d in devices or ()]

    section: Json = {
        "weightDevice": [
            {**_numbers(d.path, numbers), "weight": d.weight}
            for d in host.blkio_weight_device or ()
        ],
        "throttleReadBpsDevice": throttles(host.blkio_device_read_bps),
        "throttleWriteBpsDevice": throttles(host.blkio_device_write_bps),
        "throttleReadIOPSDevice": throttles(host.blkio_device_read_iops),
        "throttleWriteIOPSDevice": throttles(host.blkio_device_write_iops),
    }
    if host.blkio_weight:
        section["weight"] = host.blkio_weight
    return {name: value for name, value in section.items() if value}


def _numbers(path: str, numbers: Mapping[str, tuple[int, int]]) -> Json:
    major, minor = numbers[path]
    return {"major": major, "minor": minor}
