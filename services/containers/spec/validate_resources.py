"""Limits against what the kernel can enforce: refused, dropped with a warning, or kept.

Source: moby, daemon/daemon_unix.go, verifyPlatformContainerResources; the texts are dockerd's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from services.containers.config import HostConfig
from services.errors import InvalidParameter
from services.system import CgroupFacts, HostFacts

MAX_CPUS: Final = 8192
_NUMBER: Final = re.compile(r"[0-9]+")
MIN_MEMORY_BYTES: Final = 6 * 1024 * 1024
_NANO: Final = 1_000_000_000
_LACKS: Final = "Your kernel does not support"
_UNMOUNTED: Final = "or the cgroup is not mounted."

Step = Callable[[HostConfig, CgroupFacts], tuple[HostConfig, list[str]]]


def check_resources(
    host: HostConfig, facts: HostFacts, *, update: bool = False
) -> tuple[HostConfig, list[str]]:
    """The limits that hold and a warning for each one dropped. `update`: for a running container.

    Raises:
        InvalidParameter: limits that contradict each other, or are out of range.
    """
    warnings: list[str] = []
    _refuse(
        host.memory < 0 or (0 < host.memory < MIN_MEMORY_BYTES),
        "Minimum memory limit allowed is 6MB",
    )
    steps: tuple[Step, ...] = (_drop_memory, _drop_swap)
    for step in steps:
        host, more = step(host, facts.cgroup)
        warnings += more
    _check_swap(host, update=update)
    later: tuple[Step, ...] = (_swappiness, _reservation, _kernel_memory, _oom_and_pids)
    for step in later:
        host, more = step(host, facts.cgroup)
        warnings += more
    _check_cpu(host, facts)
    last: tuple[Step, ...] = (_drop_cpu, _cpuset, _block_io)
    for step in last:
        host, more = step(host, facts.cgroup)
        warnings += more
    return host, warnings


def _drop_memory(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    if not host.memory or cgroup.memory_limit:
        return host, []
    return msgspec.structs.replace(host, memory=0, memory_swap=-1), [
        f"{_LACKS} memory limit capabilities {_UNMOUNTED} Limitation discarded."
    ]


def _drop_swap(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    if not host.memory or host.memory_swap == -1 or cgroup.swap_limit:
        return host, []
    return msgspec.structs.replace(host, memory_swap=-1), [
        f"{_LACKS} swap limit capabilities {_UNMOUNTED} Memory limited without swap."
    ]


def _check_swap(host: HostConfig, *, update: bool) -> None:
    _refuse(
        0 < host.memory_swap < host.memory,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )
    _refuse(
        host.memory_swap > 0 and not host.memory and not update,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )


def _swappiness(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    value = host.memory_swappiness
    if value is None or value == -1:
        return msgspec.structs.replace(host, memory_swappiness=None), []
    if not cgroup.memory_swappiness:
        return msgspec.structs.replace(host, memory_swappiness=None), [
            f"{_LACKS} memory swappiness capabilities {_UNMOUNTED} Memory swappiness discarded."
        ]
    _refuse(
        not 0 <= value <= 100,
        f"Invalid value: {value}, valid memory swappiness range is 0-100",
    )
    return host, []


def _reservation(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    if host.memory_reservation > 0 and not cgroup.memory_reservation:
        return msgspec.structs.replace(host, memory_reservation=0), [
            f"{_LACKS} memory soft limit capabilities {_UNMOUNTED} Limitation discarded."
        ]
    _refuse(
        0 < host.memory_reservation < MIN_MEMORY_BYTES,
        "Minimum memory reservation allowed is 6MB",
    )
    _refuse(
        0 < host.memory < host.memory_reservation,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )
    return host, []


def _kernel_memory(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    """What old clients may still send. Source: moby 20.10, daemon/daemon_unix.go."""
    if host.kernel_memory <= 0:
        return host, []
    if not cgroup.kernel_memory:
        return msgspec.structs.replace(host, kernel_memory=0), [
            f"{_LACKS} kernel memory limit capabilities {_UNMOUNTED} Limitation discarded."
        ]
    _refuse(host.kernel_memory < MIN_MEMORY_BYTES, "Minimum kernel memory limit allowed is 6MB")
    return host, [
        "Specifying a kernel memory limit is deprecated and will be removed in a future release."
    ]


def _oom_and_pids(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    warnings = []
    if host.oom_kill_disable is not None and not cgroup.oom_kill_disable:
        if host.oom_kill_disable:
            warnings.append(f"{_LACKS} OomKillDisable. OomKillDisable discarded.")
        host = msgspec.structs.replace(host, oom_kill_disable=None)
    if host.oom_kill_disable and not host.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can "
            "result in the system running out of resources."
        )
    if host.pids_limit is not None and not cgroup.pids_limit:
        if host.pids_limit > 0:
            warnings.append(f"{_LACKS} PIDs limit capabilities {_UNMOUNTED} PIDs limit discarded.")
        host = msgspec.structs.replace(host, pids_limit=None)
    return host, warnings


def _check_cpu(host: HostConfig, facts: HostFacts) -> None:
    both = "Conflicting options: Nano CPUs and CPU {} cannot both be set"
    _refuse(host.nano_cpus > 0 and host.cpu_period > 0, both.format("Period"))
    _refuse(host.nano_cpus > 0 and host.cpu_quota > 0, both.format("Quota"))
    _refuse(
        host.nano_cpus > 0 and not facts.cgroup.cpu_cfs,
        "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
        "cgroup is not mounted",
    )
    _refuse(
        not 0 <= host.nano_cpus <= facts.ncpu * _NANO,
        f"Range of CPUs is from 0.01 to {facts.ncpu}.00, as there are only {facts.ncpu} CPUs "
        "available",
    )
    realtime = host.cpu_realtime_period, host.cpu_realtime_runtime
    _refuse(
        any(realtime) and not facts.cgroup.cpu_realtime,
        f"{_LACKS} CPU real-time scheduler",
    )
    # -1 is no limit where the kernel has none; below that, and as a period, nothing is meant.
    _refuse(
        realtime[0] < 0 or realtime[1] < -1,
        "cpu real-time period and runtime cannot be negative",
    )
    _refuse(
        all(realtime) and realtime[1] > realtime[0],
        "cpu real-time runtime cannot be higher than cpu real-time period",
    )
    _refuse(host.cpu_shares < 0, "shares: invalid argument")


def _drop_cpu(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    warnings = []
    if host.cpu_shares > 0 and not cgroup.cpu_shares:
        warnings.append(f"{_LACKS} CPU shares {_UNMOUNTED} Shares discarded.")
        host = msgspec.structs.replace(host, cpu_shares=0)
    if (host.cpu_period or host.cpu_quota) and not cgroup.cpu_cfs:
        warnings.append(f"{_LACKS} CPU CFS scheduler. CPU period/quota discarded.")
        host = msgspec.structs.replace(host, cpu_period=0, cpu_quota=0)
    _refuse(
        host.cpu_period != 0 and not 1000 <= host.cpu_period <= 1_000_000,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    _refuse(0 < host.cpu_quota < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.cpu_percent > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host = msgspec.structs.replace(host, cpu_percent=0)
    return host, warnings


def _cpuset(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    if (host.cpuset_cpus or host.cpuset_mems) and not cgroup.cpuset:
        return msgspec.structs.replace(host, cpuset_cpus="", cpuset_mems=""), [
            f"{_LACKS} cpuset {_UNMOUNTED} Cpuset discarded."
        ]
    for what, wanted, available, text in (
        ("cpus", host.cpuset_cpus, cgroup.cpus, "Requested CPUs are"),
        ("mems", host.cpuset_mems, cgroup.mems, "Requested memory nodes are"),
    ):
        if not wanted:
            continue
        try:
            missing = parse_cpu_list(wanted) - parse_cpu_list(available)
        except ValueError as error:
            raise InvalidParameter(f"Invalid value {wanted} for cpuset {what}: {error}") from error
        _refuse(bool(missing), f"{text} not available - requested {wanted}, available: {available}")
    return host, []


def parse_cpu_list(text: str) -> frozenset[int]:
    """The kernel's list format, "0-2,7"; "" is none.

    Raises:
        ValueError: with dockerd's reason. Source: moby, pkg/parsers, ParseUintListMaximum.
    """
    found: set[int] = set()
    for part in text.split(",") if text else ():
        low, separator, high = part.partition("-")
        numbers = (low, high) if separator else (low, low)
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            raise ValueError(f"invalid format: {text}")
        first, last = (int(number[:6]) for number in numbers)
        if last < first:
            raise ValueError(f"invalid format: {text}")
        if last > MAX_CPUS:
            raise ValueError(f"value of out range, maximum is {MAX_CPUS}")
        found.update(range(first, last + 1))
    return frozenset(found)


def _block_io(host: HostConfig, cgroup: CgroupFacts) -> tuple[HostConfig, list[str]]:
    warnings = []
    if host.blkio_weight and not cgroup.blkio_weight:
        warnings.append(f"{_LACKS} Block I/O weight {_UNMOUNTED} Weight discarded.")
        host = msgspec.structs.replace(host, blkio_weight=0)
    _refuse(
        host.blkio_weight != 0 and not 10 <= host.blkio_weight <= 1000,
        "Range of blkio weight is from 10 to 1000",
    )
    quality = "Invalid QoS settings: linux does not support configuration of maximum"
    _refuse(host.io_maximum_bandwidth != 0, f"{quality} bandwidth")
    _refuse(host.io_maximum_iops != 0, f"{quality} IOPs")
    if host.blkio_weight_device and not cgroup.blkio_weight_device:
        warnings.append(f"{_LACKS} Block I/O weight_device {_UNMOUNTED} Weight-device discarded.")
        host = msgspec.structs.replace(host, blkio_weight_device=[])
    throttles = (
        ("blkio_device_read_bps", cgroup.blkio_throttle_read_bps, "BPS Block I/O read", "BPS read"),
        (
            "blkio_device_write_bps",
            cgroup.blkio_throttle_write_bps,
            "BPS Block I/O write",
            "BPS write",
        ),
        ("blkio_device_read_iops", cgroup.blkio_throttle_read_iops, "IOPS Block read", "IOPS read"),
        (
            "blkio_device_write_iops",
            cgroup.blkio_throttle_write_iops,
            "IOPS Block write",
            "IOPS write",
        ),
    )
    for field, works, limit, short in throttles:
        if getattr(host, field) and not works:
            warnings.append(
                f"{_LACKS} {limit} limit {_UNMOUNTED} Block I/O {short} limit discarded."
            )
            host = msgspec.structs.replace(host, **{field: []})
    return host, warnings


def _refuse(wrong: bool, text: str) -> None:
    if wrong:
        raise InvalidParameter(text)
