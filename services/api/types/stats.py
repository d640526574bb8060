"""Samples on the wire. Source: Engine API, ContainerStatsResponse; Go leaves out what is zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from services.api.types.times import rfc3339_nano
from services.containers import Container
from services.containers.stats import BlockCounter, CpuUsage, MemoryUsage, PidsUsage, Sample

_V1_LISTS: Final = (
    "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
    "io_merged_recursive", "io_time_recursive", "sectors_recursive",
)  # fmt: skip


def stats_to_wire(
    container: Container, sample: Sample | None, previous: Sample | None = None
) -> dict[str, Any]:
    """One value of GET /containers/{id}/stats. Without a sample all is zero, as dockerd's.

    `previous` is the sample before it of the same reader, of which `precpu_stats` are made.
    """
    wire: dict[str, Any] = {
        "id": container.id,
        "name": f"/{container.name}",
        "os_type": "linux",
        "read": rfc3339_nano(sample.read_ns if sample else 0),
        "cpu_stats": _cpu(sample.cpu if sample else CpuUsage()),
        "memory_stats": _memory(sample.memory) if sample else {},
        "pids_stats": _pids(sample.pids) if sample else {},
        "blkio_stats": _block_io(sample),
        "num_procs": 0,
        "storage_stats": {},
        "preread": rfc3339_nano(previous.read_ns if previous else 0),
        "precpu_stats": _cpu(previous.cpu if previous else CpuUsage()),
    }
    if sample and sample.networks:
        wire["networks"] = {name: asdict(counters) for name, counters in sample.networks.items()}
    return wire


def _cpu(cpu: CpuUsage) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "total_usage": cpu.total_ns,
        "percpu_usage": cpu.per_cpu_ns and list(cpu.per_cpu_ns),
        "usage_in_kernelmode": cpu.kernel_ns,
        "usage_in_usermode": cpu.user_ns,
    }
    return {
        "cpu_usage": {name: value for name, value in usage.items() if value not in (None, ())},
        **_set({"system_cpu_usage": cpu.system_ns, "online_cpus": cpu.online_cpus}),
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    }


def _memory(memory: MemoryUsage) -> dict[str, Any]:
    return _set(
        {
            "usage": memory.usage_bytes,
            "max_usage": memory.max_usage_bytes,
            "stats": memory.stats,
            "failcnt": memory.failures,
            "limit": memory.limit_bytes,
        }
    )


def _pids(pids: PidsUsage) -> dict[str, Any]:
    return _set({"current": pids.current, "limit": pids.limit})


def _block_io(sample: Sample | None) -> dict[str, Any]:
    """cgroup v2 has but one of the lists; v1 has two that every scheduler fills."""
    is_v1 = sample is not None and sample.io_serviced is not None
    rest: list[Any] | None = [] if is_v1 else None
    return {
        "io_service_bytes_recursive": _counters(sample.io_service_bytes) if sample else None,
        "io_serviced_recursive": _counters(sample.io_serviced) if sample else None,
        **dict.fromkeys(_V1_LISTS, rest),
    }


def _counters(counters: Iterable[BlockCounter] | None) -> list[dict[str, Any]] | None:
    return None if counters is None else [asdict(counter) for counter in counters]


def _set(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}
