"""The values of a container: what each is called, what it says, how it is read of a row. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.containers.health.rules import HealthStatus
from services.containers.stats import Sample

from .container_rows import Row


@dataclass(frozen=True, slots=True)
class Value:
    """One family: its name without prefix and `_total`, what it says, and how it is read."""

    name: str
    help: str
    read: Callable[[Row], float | None]  # None: it has none
    is_counter: bool = True


def _of_sample(read: Callable[[Sample], float]) -> Callable[[Row], float | None]:
    return lambda row: None if row.sample is None else read(row.sample)


def _of_networks(field: str) -> Callable[[Row], float | None]:
    return _of_sample(lambda s: sum(getattr(one, field) for one in s.networks.values()))


def _blocks(sample: Sample, operation: str) -> int:
    counters = sample.io_service_bytes or ()
    return sum(one.value for one in counters if one.op.lower() == operation)


def _working_set(sample: Sample) -> int:
    """As `docker stats` shows it: without the cache that the kernel gives back first."""
    stats = sample.memory.stats
    cache = stats.get("total_inactive_file", stats.get("inactive_file", 0))
    return max(0, sample.memory.usage_bytes - cache)


VALUES: Final = (
    Value("cpu_seconds", "CPU time", _of_sample(lambda s: s.cpu.total_ns / 1e9)),
    Value("cpu_user_seconds", "CPU time in user mode", _of_sample(lambda s: s.cpu.user_ns / 1e9)),
    Value(
        "cpu_system_seconds", "CPU time in the kernel", _of_sample(lambda s: s.cpu.kernel_ns / 1e9)
    ),
    Value("cpu_periods", "Periods of the CPU limit", _of_sample(lambda s: s.cpu.periods)),
    Value(
        "cpu_throttled_periods",
        "Periods in which the CPU limit was reached",
        _of_sample(lambda s: s.cpu.throttled_periods),
    ),
    Value(
        "cpu_throttled_seconds",
        "Time for which the CPU limit held it up",
        _of_sample(lambda s: s.cpu.throttled_ns / 1e9),
    ),
    Value(
        "memory_usage_bytes",
        "Memory that is charged to it, with the page cache",
        _of_sample(lambda s: s.memory.usage_bytes),
        is_counter=False,
    ),
    Value(
        "memory_working_set_bytes",
        "Memory without what the kernel gives back first, as docker stats shows it",
        _of_sample(_working_set),
        is_counter=False,
    ),
    Value(
        "memory_limit_bytes",
        "Its memory limit; the memory of the host if it has none",
        _of_sample(lambda s: s.memory.limit_bytes),
        is_counter=False,
    ),
    Value(
        "memory_failures",
        "How often it was refused memory at its limit",
        _of_sample(lambda s: s.memory.failures or 0),
    ),
    Value("blkio_read_bytes", "Bytes read from devices", _of_sample(lambda s: _blocks(s, "read"))),
    Value(
        "blkio_written_bytes", "Bytes written to devices", _of_sample(lambda s: _blocks(s, "write"))
    ),
    Value("pids", "Processes and threads", _of_sample(lambda s: s.pids.current), is_counter=False),
    Value("network_receive_bytes", "Bytes received", _of_networks("rx_bytes")),
    Value("network_receive_packets", "Packets received", _of_networks("rx_packets")),
    Value("network_receive_errors", "Errors of receiving", _of_networks("rx_errors")),
    Value("network_receive_dropped", "Packets dropped on receipt", _of_networks("rx_dropped")),
    Value("network_transmit_bytes", "Bytes sent", _of_networks("tx_bytes")),
    Value("network_transmit_packets", "Packets sent", _of_networks("tx_packets")),
    Value("network_transmit_errors", "Errors of sending", _of_networks("tx_errors")),
    Value("network_transmit_dropped", "Packets dropped on sending", _of_networks("tx_dropped")),
    Value(
        "restarts",
        "Restarts by its policy since it was last started by hand",
        lambda row: row.restarts,
    ),
    Value(
        "healthy",
        "Whether its health check says so; absent without one",
        lambda row: None if row.health is None else float(row.health is HealthStatus.HEALTHY),
        is_counter=False,
    ),
    Value(
        "failing_streak",
        "Health checks that have failed in a row; absent without one",
        lambda row: None if row.health is None else row.failing_streak,
        is_counter=False,
    ),
    Value("log_written_lines", "Lines of output in its log", lambda row: row.log[0]),
    Value("log_written_bytes", "Bytes of output in its log", lambda row: row.log[1]),
    Value("log_dropped_lines", "Lines of output missing in its log", lambda row: row.log[2]),
    Value("log_dropped_bytes", "Bytes of output missing in its log", lambda row: row.log[3]),
)
