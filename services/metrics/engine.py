"""dockerd's metrics of engine, containers, events and builds, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from services.measures import Counts, Durations

from .families import counts_family, durations_family

STATES: Final = ("paused", "running", "stopped")  # dockerd's three; whatever else is stopped
ACTIONS: Final = ("changes", "commit", "create", "delete", "start")
BUILD_FAILURES: Final = (
    "build_canceled",
    "dockerfile_syntax_error",
    "error_processing_commands_error",
)
"""Those of dockerd's words that are told apart here."""


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

    @property
    def actions(self) -> Durations:
        """Of what succeeded, by ACTIONS."""
        ...

    @property
    def probes(self) -> Counts:
        """Of health checks, "ok" and "failed"."""
        ...

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


class BuildCounts(Protocol):
    """What the metrics need of the builder."""

    triggered: int
    open: int

    @property
    def failures(self) -> Counts:
        """By BUILD_FAILURES."""
        ...

    @property
    def durations(self) -> Durations:
        """Of those that succeeded."""
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


class LogBudgetCounts(Protocol):
    """What the metrics need of the bound on all logs. Totals since the daemon started."""

    used_bytes: int
    removed_files: int
    removed_bytes: int

    @property
    def budget_bytes(self) -> int:
        """0: there is none."""
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
        log_budget: LogBudgetCounts,
        builds: BuildCounts,
    ) -> None:
        self._facts = facts
        self._log_budget = log_budget
        self._logs = logs
        self._builds = builds
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
        # A gauge by what it is; dockerd's name says counter, so nothing is said of its type.
        yield UnknownMetricFamily(
            "engine_daemon_events_subscribers_total",
            "The number of current subscribers to events",
            value=self._events.subscribers,
        )
        yield durations_family(
            "engine_daemon_container_actions_seconds",
            "The number of seconds it takes to process each container action",
            "action",
            self._containers.actions,
            known=ACTIONS,
        )
        yield from self._health()
        yield from self._built()
        yield from self._log_totals()
        yield from self._log_room()

    def _health(self) -> Iterator[Metric]:
        probes = self._containers.probes
        yield CounterMetricFamily(
            "engine_daemon_health_checks",
            "The total number of health checks",
            value=probes.total,
        )
        yield CounterMetricFamily(
            "engine_daemon_health_checks_failed",
            "The total number of failed health checks",
            value=probes.by_labels.get(("failed",), 0),
        )

    def _built(self) -> Iterator[Metric]:
        builds = self._builds
        yield CounterMetricFamily(
            "builder_builds_triggered", "Number of triggered image builds", value=builds.triggered
        )
        yield counts_family(
            "builder_builds_failed",
            "Number of failed image builds",
            ["reason"],
            builds.failures,
            known=[(reason,) for reason in BUILD_FAILURES],
        )
        yield GaugeMetricFamily(
            "wharfinger_builds_open", "Builds that run or wait for their turn", value=builds.open
        )
        yield durations_family(
            "wharfinger_build_duration_seconds",
            "How long builds took that succeeded",
            "kind",
            builds.durations,
            known=["build"],
        )

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

    def _log_room(self) -> Iterator[Metric]:
        """Without a budget nobody measures."""
        budget = self._log_budget
        if not budget.budget_bytes:
            return
        yield GaugeMetricFamily(
            "wharfinger_log_budget_bytes",
            "The room that the logs of all containers together may take",
            value=budget.budget_bytes,
        )
        yield GaugeMetricFamily(
            "wharfinger_log_files_bytes",
            "The room that they took when they were last measured",
            value=budget.used_bytes,
        )
        yield CounterMetricFamily(
            "wharfinger_log_budget_removed_files",
            "The number of older log files that were removed to keep to the budget",
            value=budget.removed_files,
        )
        yield CounterMetricFamily(
            "wharfinger_log_budget_removed_bytes",
            "The bytes of these files",
            value=budget.removed_bytes,
        )

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
