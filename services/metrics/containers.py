"""What running containers use, do and log: a set of labels for each of the first, one for the rest.

Prometheus keeps every label set for as long as it keeps data; containers come and go. So LABELLED
containers have series of their own: those that have them keep them, then those that run longest.
All others are summed under `_other`; its counters never fall when a container ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.containers import Container
from services.containers.health.rules import HealthStatus
from services.containers.model import SHORT_ID
from services.containers.stats import Sample
from services.measures.durations import OTHER

LABELLED: Final = 200
READ_LIMIT_S: Final = 2.0  # for all containers' files; those that are not read by then are counted
THREADS: Final = 4
AT_ONCE: Final = 16  # containers that one trip to a thread reads; each takes half a millisecond

PREFIX: Final = "wharfinger_container_"


class LogTotals(Protocol):
    """What one container's log has and lacks."""

    written_lines: int
    written_bytes: int
    dropped_lines: int
    dropped_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One running container at one moment. `sample` is None if its files were not read."""

    id: str
    name: str
    image: str
    started_at_ns: int
    restarts: int
    health: HealthStatus | None
    failing_streak: int
    log: tuple[int, int, int, int]  # written lines and bytes, dropped lines and bytes
    sample: Sample | None


class ContainerSource(Protocol):
    """The containers, and what they use."""

    def running(self) -> Iterable[Container]:
        """Those that run, paused ones too."""
        ...

    def log_totals(self, container: Container) -> LogTotals:
        """Since the daemon started."""
        ...

    def sample(self, container: Container) -> Sample:
        """Blocks. OSError: it does not run any more."""
        ...


@dataclass(frozen=True, slots=True)
class _Value:
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
    _Value("cpu_seconds", "CPU time", _of_sample(lambda s: s.cpu.total_ns / 1e9)),
    _Value("cpu_user_seconds", "CPU time in user mode", _of_sample(lambda s: s.cpu.user_ns / 1e9)),
    _Value(
        "cpu_system_seconds", "CPU time in the kernel", _of_sample(lambda s: s.cpu.kernel_ns / 1e9)
    ),
    _Value("cpu_periods", "Periods of the CPU limit", _of_sample(lambda s: s.cpu.periods)),
    _Value(
        "cpu_throttled_periods",
        "Periods in which the CPU limit was reached",
        _of_sample(lambda s: s.cpu.throttled_periods),
    ),
    _Value(
        "cpu_throttled_seconds",
        "Time for which the CPU limit held it up",
        _of_sample(lambda s: s.cpu.throttled_ns / 1e9),
    ),
    _Value(
        "memory_usage_bytes",
        "Memory that is charged to it, with the page cache",
        _of_sample(lambda s: s.memory.usage_bytes),
        is_counter=False,
    ),
    _Value(
        "memory_working_set_bytes",
        "Memory without what the kernel gives back first, as docker stats shows it",
        _of_sample(_working_set),
        is_counter=False,
    ),
    _Value(
        "memory_limit_bytes",
        "Its memory limit; the memory of the host if it has none",
        _of_sample(lambda s: s.memory.limit_bytes),
        is_counter=False,
    ),
    _Value(
        "memory_failures",
        "How often it was refused memory at its limit",
        _of_sample(lambda s: s.memory.failures or 0),
    ),
    _Value("blkio_read_bytes", "Bytes read from devices", _of_sample(lambda s: _blocks(s, "read"))),
    _Value(
        "blkio_written_bytes", "Bytes written to devices", _of_sample(lambda s: _blocks(s, "write"))
    ),
    _Value("pids", "Processes and threads", _of_sample(lambda s: s.pids.current), is_counter=False),
    _Value("network_receive_bytes", "Bytes received", _of_networks("rx_bytes")),
    _Value("network_receive_packets", "Packets received", _of_networks("rx_packets")),
    _Value("network_receive_errors", "Errors of receiving", _of_networks("rx_errors")),
    _Value("network_receive_dropped", "Packets dropped on receipt", _of_networks("rx_dropped")),
    _Value("network_transmit_bytes", "Bytes sent", _of_networks("tx_bytes")),
    _Value("network_transmit_packets", "Packets sent", _of_networks("tx_packets")),
    _Value("network_transmit_errors", "Errors of sending", _of_networks("tx_errors")),
    _Value("network_transmit_dropped", "Packets dropped on sending", _of_networks("tx_dropped")),
    _Value(
        "restarts",
        "Restarts by its policy since it was last started by hand",
        lambda row: row.restarts,
    ),
    _Value(
        "healthy",
        "Whether its health check says so; absent without one",
        lambda row: None if row.health is None else float(row.health is HealthStatus.HEALTHY),
        is_counter=False,
    ),
    _Value(
        "failing_streak",
        "Health checks that have failed in a row; absent without one",
        lambda row: None if row.health is None else row.failing_streak,
        is_counter=False,
    ),
    _Value("log_written_lines", "Lines of output in its log", lambda row: row.log[0]),
    _Value("log_written_bytes", "Bytes of output in its log", lambda row: row.log[1]),
    _Value("log_dropped_lines", "Lines of output missing in its log", lambda row: row.log[2]),
    _Value("log_dropped_bytes", "Bytes of output missing in its log", lambda row: row.log[3]),
)


class ContainerReader:
    """Reads all running containers, in threads of its own and within READ_LIMIT_S."""

    def __init__(self, source: ContainerSource) -> None:
        self._source = source
        self._threads = trio.CapacityLimiter(THREADS)

    async def read(self) -> list[Row]:
        """A row for each; those that could not be read in time have no sample."""
        containers = list(self._source.running())
        samples: dict[str, Sample] = {}
        with trio.move_on_after(READ_LIMIT_S):
            async with trio.open_nursery() as nursery:
                for first in range(0, len(containers), AT_ONCE):
                    part = containers[first : first + AT_ONCE]
                    nursery.start_soon(self._read_some, part, samples)
        return [self._row(container, samples.get(container.id)) for container in containers]

    async def _read_some(self, part: Sequence[Container], samples: dict[str, Sample]) -> None:
        def read() -> dict[str, Sample]:
            found: dict[str, Sample] = {}
            for container in part:
                try:
                    found[container.id] = self._source.sample(container)
                except OSError:  # it has just ended
                    continue
            return found

        samples |= await trio.to_thread.run_sync(
            read, limiter=self._threads, abandon_on_cancel=True
        )

    def _row(self, container: Container, sample: Sample | None) -> Row:
        status, health = container.status, container.health
        log = self._source.log_totals(container)
        return Row(
            id=container.id[:SHORT_ID],
            name=container.name,
            image=container.definition.config.image,
            started_at_ns=status.started_at_ns,
            restarts=status.restart_count,
            health=None if health is None else health.status,
            failing_streak=0 if health is None else health.failing_streak,
            log=(log.written_lines, log.written_bytes, log.dropped_lines, log.dropped_bytes),
            sample=sample,
        )


class ContainerFamilies:
    """Makes the families of rows. For one thread at a time."""

    def __init__(self, *, labelled: int = LABELLED) -> None:
        self._limit = labelled
        self._labelled: set[str] = set()
        self._others = _Others()

    def families(self, rows: Sequence[Row]) -> Iterator[Metric]:
        """All families, of rows that were just read."""
        own, others = self._split(rows)
        yield self._info(own)
        yield _outcomes(own, others)
        self._others.take(others)
        for value in VALUES:
            kind = CounterMetricFamily if value.is_counter else GaugeMetricFamily
            family = kind(PREFIX + value.name, value.help, labels=["id", "name"])
            for row in own:
                number = value.read(row)
                if number is not None:
                    family.add_metric([row.id, row.name], number)
            rest = self._others.value(value, others)
            if rest is not None:
                family.add_metric([OTHER, OTHER], rest)
            yield family
        yield _start_times(own)

    def _split(self, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Those with series of their own, and the rest."""
        self._labelled &= {row.id for row in rows}
        for row in sorted(rows, key=lambda row: row.started_at_ns):
            if len(self._labelled) >= self._limit:
                break
            self._labelled.add(row.id)
        own = [row for row in rows if row.id in self._labelled]
        return own, [row for row in rows if row.id not in self._labelled]

    @staticmethod
    def _info(own: Sequence[Row]) -> Metric:
        family = GaugeMetricFamily(
            PREFIX + "info", "What a running container is", labels=["id", "name", "image"]
        )
        for row in own:
            family.add_metric([row.id, row.name, row.image], 1)
        return family


class _Others:
    """The sums of those without labels. Its counters grow by what each one's counter grew by."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._last: dict[str, Mapping[str, float]] = {}  # counters by container

    def take(self, rows: Sequence[Row]) -> None:
        """Add what has been counted since the last time."""
        now = {row.id: self._counters(row) for row in rows}
        for container_id, counters in now.items():
            before = self._last.get(container_id, {})
            for name, value in counters.items():
                # What was counted from the start of a container on; after a reset, all of it.
                grown = value - before.get(name, 0.0)
                self._totals[name] = self._totals.get(name, 0.0) + (grown if grown >= 0 else value)
        self._last = {
            container_id: {**self._last.get(container_id, {}), **counters}
            for container_id, counters in now.items()
        }

    def value(self, value: _Value, rows: Sequence[Row]) -> float | None:
        """The sum, None if there never was anything to sum."""
        if value.is_counter:
            return self._totals.get(value.name)
        numbers = [number for row in rows if (number := value.read(row)) is not None]
        return math.fsum(numbers) if numbers else None

    @staticmethod
    def _counters(row: Row) -> dict[str, float]:
        found = ((value.name, value.read(row)) for value in VALUES if value.is_counter)
        return {name: number for name, number in found if number is not None}


def _outcomes(own: Sequence[Row], others: Sequence[Row]) -> Metric:
    family = GaugeMetricFamily(
        "wharfinger_scraped_containers",
        "Running containers with series of their own, summed under _other, and not read in time",
        labels=["series"],
    )
    family.add_metric(["own"], len(own))
    family.add_metric(["other"], len(others))
    family.add_metric(["unread"], sum(row.sample is None for row in (*own, *others)))
    return family


def _start_times(own: Sequence[Row]) -> Metric:
    family = GaugeMetricFamily(
        PREFIX + "start_time_seconds", "When it was started, since the epoch", labels=["id", "name"]
    )
    for row in own:
        family.add_metric([row.id, row.name], row.started_at_ns / 1e9)
    return family
