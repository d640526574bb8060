"""What containers use: samples of the kernel's counters, taken while somebody reads them."""

from services.containers.stats.feed import Statistics, StatisticsReader
from services.containers.stats.reader import KernelFiles
from services.containers.stats.values import (
    BlockCounter,
    CpuUsage,
    InterfaceCounters,
    MemoryUsage,
    PidsUsage,
    Sample,
)

__all__ = [
    "BlockCounter",
    "CpuUsage",
    "InterfaceCounters",
    "KernelFiles",
    "MemoryUsage",
    "PidsUsage",
    "Sample",
    "Statistics",
    "StatisticsReader",
]
