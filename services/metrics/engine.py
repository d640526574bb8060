"""dockerd's metrics of engine, containers and events, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES: Final = ("paused", "running", "stopped")  # dockerd's three; whatever else is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What does not change while the daemon runs."""

    version: str
    commit: str
    architecture: str
    graphdriver: str
    kernel: str
    os: str
    os_type: str
    os_version: str
    daemon_id: str
    cpus: int
    memory_bytes: int


class ContainerCounts(Protocol):
    """What the metrics need of the containers."""

    def count_states(self) -> Mapping[str, int]:
        """How many containers are running, paused and stopped, by these words."""
        ...


class EventCounts(Protocol):
    """What the metrics need of the event bus."""

    @property
    def published(self) -> int:
        """Events since the daemon started."""
        ...

    @property
    def subscribers(self) -> int:
        """Open subscriptions."""
        ...


class LogCounts(Protocol):
    """What the metrics need of the containers' logs. Totals since the daemon started."""

    @property
    def written_lines(self) -> int:
        """Lines that are in a log."""
        ...

    @property
    def written_bytes(self) -> int:
        """Of output, that are in a log."""
        ...

    @property
    def dropped_lines(self) -> int:
        """Lines that should be in a log and are not."""
        ...

    @property
    def dropped_bytes(self) -> int:
        """Of output, that should be in a log and are not."""
        ...


class EngineMetrics(Collector):
    """To be registered with the registry that a MetricsServer serves.

    Source of the names and labels: moby, daemon/internal/metrics.
    """

    def __init__(
        self,
        facts: EngineFacts,
        *,
        containers: ContainerCounts,
        events: EventCounts,
        logs: LogCounts,
    ) -> None:
        self._facts = facts
        self._logs = logs
        self._containers = containers
        self._events = events

    def collect(self) -> Iterator[Metric]:
        """All families, with their values of now."""
        yield self._info()
        yield GaugeMetricFamily(
            "engine_daemon_engine_cpus_cpus",
            "The number of cpus that the host system of the engine has",
            value=self._facts.cpus,
        )
        yield GaugeMetricFamily(
            "engine_daemon_engine_memory_bytes",
            "The number of bytes of memory that the host system of the engine has",
            value=self._facts.memory_bytes,
        )
        yield self._states()
        yield CounterMetricFamily(
            "engine_daemon_events", "The number of events logged", value=self._events.published
        )
        yield GaugeMetricFamily(
            "engine_daemon_events_subscribers_total",
            "The number of current subscribers to events",
            value=self._events.subscribers,
        )
        yield from self._log_totals()

    def _log_totals(self) -> Iterator[Metric]:
        """Not dockerd's, which counts calls that failed."""
        logs = self._logs
        for name, help_text, value in (
            ("written_lines", "The number of lines that were logged", logs.written_lines),
            ("written_bytes", "The bytes of output that were logged", logs.written_bytes),
            ("dropped_lines", "The number of lines that were not logged", logs.dropped_lines),
            ("dropped_bytes", "The bytes of output that were not logged", logs.dropped_bytes),
        ):
            yield CounterMetricFamily(f"wharfinger_logs_{name}", help_text, value=value)

    def _info(self) -> Metric:
        facts = self._facts
        labels = {
            "version": facts.version,
            "commit": facts.commit,
            "architecture": facts.architecture,
            "graphdriver": facts.graphdriver,
            "kernel": facts.kernel,
            "os": facts.os,
            "os_type": facts.os_type,
            "os_version": facts.os_version,
            "daemon_id": facts.daemon_id,
        }
        family = GaugeMetricFamily(
            "engine_daemon_engine_info",
            "The information related to the engine and the OS it is running on",
            labels=list(labels),
        )
        family.add_metric(list(labels.values()), 1)
        return family

    def _states(self) -> Metric:
        counts = self._containers.count_states()
        family = GaugeMetricFamily(
            "engine_daemon_container_states_containers",
            "The count of containers in various states",
            labels=["state"],
        )
        for state in STATES:
            family.add_metric([state], counts.get(state, 0))
        return family
