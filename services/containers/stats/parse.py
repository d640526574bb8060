"""From the texts of the kernel's files to values. A file that is missing is "" and counts as zero.

Source: the kernel's Documentation/admin-guide (cgroup-v1, cgroup-v2.rst) and proc(5); which file
answers which member of the Engine API's ContainerStatsResponse is dockerd's choice (moby,
daemon/stats_unix.go; containerd's cgroups).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.containers.stats.values import (
    BlockCounter,
    CpuUsage,
    InterfaceCounters,
    MemoryUsage,
    PidsUsage,
)

NO_PIDS_LIMIT_V2: Final = 2**64 - 1
_TICK_NS: Final = 10_000_000  # USER_HZ is 100 on every architecture that Linux tells user space
_SYSTEM_FIELDS: Final = 7  # user, nice, system, idle, iowait, irq, softirq: not what guests steal

Texts = Mapping[str, str]
"""Contents by file name, such as "memory.stat"."""


def system_cpu(proc_stat: str) -> tuple[int, int]:
    """Nanoseconds that all CPUs have spent, and how many CPUs are online, from /proc/stat."""
    spent_ns, online = 0, 0
    for line in proc_stat.splitlines():
        name, *fields = line.split()
        if name == "cpu":
            spent_ns = sum(int(field) for field in fields[:_SYSTEM_FIELDS]) * _TICK_NS
        elif name.startswith("cpu") and name[3:].isdecimal():
            online += 1
    return spent_ns, online


def cpu_v1(texts: Texts, proc_stat: str) -> CpuUsage:
    """From cpuacct.* and cpu.stat."""
    ticks, throttling = _pairs(texts["cpuacct.stat"]), _pairs(texts["cpu.stat"])
    system_ns, online = system_cpu(proc_stat)
    return CpuUsage(
        total_ns=_number(texts["cpuacct.usage"]),
        per_cpu_ns=tuple(int(word) for word in texts["cpuacct.usage_percpu"].split()),
        kernel_ns=ticks.get("system", 0) * _TICK_NS,
        user_ns=ticks.get("user", 0) * _TICK_NS,
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_ns=throttling.get("throttled_time", 0),
        system_ns=system_ns,
        online_cpus=online,
    )


def cpu_v2(texts: Texts, proc_stat: str) -> CpuUsage:
    """From cpu.stat, which counts microseconds."""
    fields = _pairs(texts["cpu.stat"])
    system_ns, online = system_cpu(proc_stat)
    return CpuUsage(
        total_ns=fields.get("usage_usec", 0) * 1000,
        kernel_ns=fields.get("system_usec", 0) * 1000,
        user_ns=fields.get("user_usec", 0) * 1000,
        periods=fields.get("nr_periods", 0),
        throttled_periods=fields.get("nr_throttled", 0),
        throttled_ns=fields.get("throttled_usec", 0) * 1000,
        system_ns=system_ns,
        online_cpus=online,
    )


def memory_v1(texts: Texts, *, host_bytes: int) -> MemoryUsage:
    """From memory.*; no limit, or one above what the host has, is shown as the host's memory."""
    return MemoryUsage(
        usage_bytes=_number(texts["memory.usage_in_bytes"]),
        max_usage_bytes=_number(texts["memory.max_usage_in_bytes"]),
        limit_bytes=_at_most(_number(texts["memory.limit_in_bytes"]), host_bytes),
        failures=_number(texts["memory.failcnt"]),
        stats=_pairs(texts["memory.stat"]),
    )


def memory_v2(texts: Texts, *, host_bytes: int) -> MemoryUsage:
    """From memory.*; no limit, or one above what the host has, is shown as the host's memory."""
    return MemoryUsage(
        usage_bytes=_number(texts["memory.current"]),
        limit_bytes=_at_most(_number(texts["memory.max"]), host_bytes),
        failures=_pairs(texts["memory.events"]).get("oom", 0),
        stats=_pairs(texts["memory.stat"]),
    )


def pids(texts: Texts, *, unlimited: int) -> PidsUsage:
    """From pids.*; `unlimited` is what stands for the kernel's "max"."""
    return PidsUsage(
        current=_number(texts["pids.current"]),
        limit=_number(texts["pids.max"], unlimited=unlimited),
    )


def block_counters_v1(text: str) -> tuple[BlockCounter, ...]:
    """From a blkio.throttle file: "254:0 Read 937984" a line, and a sum that is passed over."""
    counters = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            device, op, value = words
            counters.append(_counter(device, op, value))
    return tuple(counters)


def block_counters_v2(text: str) -> tuple[BlockCounter, ...]:
    """From io.stat: "254:0 rbytes=1 wbytes=2 rios=3 ..." a line."""
    counters = []
    for line in text.splitlines():
        device, *words = line.split()
        fields = dict(word.split("=", 1) for word in words if "=" in word)
        for op, name in (("read", "rbytes"), ("write", "wbytes")):
            if name in fields:
                counters.append(_counter(device, op, fields[name]))
    return tuple(counters)


def interfaces(net_dev: str) -> dict[str, InterfaceCounters]:
    """From /proc/PID/net/dev, without the loopback, which dockerd does not count."""
    found = {}
    for line in net_dev.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() != "lo" and len(numbers) >= 12:
            found[name.strip()] = InterfaceCounters(
                rx_bytes=numbers[0],
                rx_packets=numbers[1],
                rx_errors=numbers[2],
                rx_dropped=numbers[3],
                tx_bytes=numbers[8],
                tx_packets=numbers[9],
                tx_errors=numbers[10],
                tx_dropped=numbers[11],
            )
    return found


def _counter(device: str, op: str, value: str) -> BlockCounter:
    major, _, minor = device.partition(":")
    return BlockCounter(major=int(major), minor=int(minor), op=op, value=int(value))


def _at_most(limit: int, host_bytes: int) -> int:
    return host_bytes if host_bytes and not 0 < limit <= host_bytes else limit


def _number(text: str, *, unlimited: int = 0) -> int:
    word = text.strip()
    return unlimited if word == "max" else int(word or 0)


def _pairs(text: str) -> dict[str, int]:
    """ "name value" a line."""
    words = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2}
