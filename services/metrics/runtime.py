"""How the engine itself does: its loop and queues, containerd, the API, the registries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.measures import Counts, Durations, LoopLag

from .families import counts_family, durations_family, histogram_family


class Calls(Protocol):
    """What the connection to containerd has counted."""

    @property
    def calls(self) -> Durations:
        """Of calls that succeeded, by method."""
        ...

    @property
    def failures(self) -> Counts:
        """By method and class of error."""
        ...


class ApiCounts(Protocol):
    """What the API has counted."""

    open: int

    @property
    def durations(self) -> Durations:
        """By operation."""
        ...

    @property
    def answers(self) -> Counts:
        """By operation and status."""
        ...


class JobCounts(Protocol):
    """What the registry client has counted."""

    @property
    def durations(self) -> Durations:
        """Of those that succeeded, by action."""
        ...

    @property
    def results(self) -> Counts:
        """By action and result."""
        ...

    @property
    def under_way(self) -> Mapping[str, int]:
        """By action."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSources:
    """What is read. `queues` are depths by name, called on the loop."""

    lag: LoopLag
    containerd: Calls
    api: ApiCounts
    registry: JobCounts
    queues: Mapping[str, Callable[[], int]]


class RuntimeMetrics(Collector):
    """To be read on the loop's thread: its values change under another one."""

    def __init__(self, sources: RuntimeSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """All families, with their values of now."""
        yield from self._loop()
        yield from self._containerd()
        yield from self._api()
        yield from self._registry()

    def _loop(self) -> Iterator[Metric]:
        lag = self._sources.lag
        yield histogram_family(
            "wharfinger_loop_lag_seconds",
            "How late a task woke that wants to wake four times a second",
            lag.histogram,
        )
        yield GaugeMetricFamily(
            "wharfinger_loop_lag_longest_seconds",
            "The longest lag of the last minute",
            value=lag.longest_s(),
        )
        statistics = trio.lowlevel.current_statistics()
        yield GaugeMetricFamily(
            "wharfinger_loop_tasks", "Tasks of the event loop", value=statistics.tasks_living
        )
        depths = {
            "runnable_tasks": statistics.tasks_runnable,
            "calls_from_threads": statistics.run_sync_soon_queue_size,
            "threads": trio.to_thread.current_default_thread_limiter().borrowed_tokens,
        } | {name: depth() for name, depth in self._sources.queues.items()}
        family = GaugeMetricFamily(
            "wharfinger_queue_depth", "What waits or is under way, by queue", labels=["queue"]
        )
        for name, depth in depths.items():
            family.add_metric([name], depth)
        yield family

    def _containerd(self) -> Iterator[Metric]:
        containerd = self._sources.containerd
        yield durations_family(
            "wharfinger_containerd_call_duration_seconds",
            "How long containerd took to answer a call, by gRPC method",
            "method",
            containerd.calls,
        )
        yield counts_family(
            "wharfinger_containerd_call_failures",
            "Calls to containerd that were answered with an error or not at all",
            ["method", "error"],
            containerd.failures,
        )

    def _api(self) -> Iterator[Metric]:
        api = self._sources.api
        yield durations_family(
            "wharfinger_api_answer_duration_seconds",
            "From a request to the moment when its answer begins, by operation",
            "operation",
            api.durations,
        )
        yield counts_family(
            "wharfinger_api_answers",
            "Answers of the API, by operation and status",
            ["operation", "code"],
            api.answers,
        )
        yield GaugeMetricFamily(
            "wharfinger_api_open_requests",
            "Requests that are being answered, streams and attached clients among them",
            value=api.open,
        )

    def _registry(self) -> Iterator[Metric]:
        registry = self._sources.registry
        yield durations_family(
            "wharfinger_registry_job_duration_seconds",
            "How long pulls and pushes took that succeeded",
            "action",
            registry.durations,
            known=["pull", "push"],
        )
        yield counts_family(
            "wharfinger_registry_jobs",
            "Pulls and pushes that have ended, by how",
            ["action", "result"],
            registry.results,
            known=[(a, r) for a in ("pull", "push") for r in ("ok", "failed", "cancelled")],
        )
        open_ = GaugeMetricFamily(
            "wharfinger_registry_open_jobs", "Pulls and pushes under way", labels=["action"]
        )
        for action in ("pull", "push"):
            open_.add_metric([action], registry.under_way.get(action, 0))
        yield open_
