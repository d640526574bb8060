"""One look at what a container uses. Counters grow from the container's start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUsage:
    """Times are nanoseconds; `per_cpu_ns` is None on cgroup v2, which does not tell.

    `system_ns` is what all CPUs of the host together have spent, idle or not.
    """

    total_ns: int = 0
    per_cpu_ns: tuple[int, ...] | None = None
    kernel_ns: int = 0
    user_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    system_ns: int = 0
    online_cpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """Bytes; `limit_bytes` 0 is unlimited. `stats` is the kernel's memory.stat."""

    usage_bytes: int = 0
    max_usage_bytes: int = 0
    limit_bytes: int = 0
    failures: int = 0
    stats: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PidsUsage:
    """`limit` 0 is unlimited on cgroup v1, 2**64 - 1 on v2: as dockerd has it."""

    current: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounter:
    """What was done to one block device. `op` is the kernel's word ("Read", "Total") on v1."""

    major: int
    minor: int
    op: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceCounters:
    """What went through one interface of the container's network namespace."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All of it, at `read_ns` (since the epoch). `io_serviced` is None on cgroup v2."""

    read_ns: int
    cpu: CpuUsage
    memory: MemoryUsage
    pids: PidsUsage
    io_service_bytes: tuple[BlockCounter, ...]
    io_serviced: tuple[BlockCounter, ...] | None
    networks: Mapping[str, InterfaceCounters]
