"""dockerd's metrics of what images, networks and logs go through, read at each scrape.

Source of the names and labels: moby, daemon/internal/metrics, daemon/logger/metrics.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.measures import Durations, Histogram

from .families import histograms_family

IMAGE_ACTIONS: Final = ("delete", "history", "pull", "push")
NETWORK_ACTIONS: Final = ("allocate", "connect", "release")
INFO: Final = "GET /info"  # by what the API's own durations know it


class FailedWrites(Protocol):
    """What the metrics need of the containers' logs."""

    @property
    def refused_lines(self) -> int:
        """Lines that a log's disk has refused, since the daemon started."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSources:
    """What is read. `jobs` are the registry's, `answers` the API's, by operation."""

    images: Durations
    jobs: Durations
    networks: Durations
    answers: Durations
    logs: FailedWrites


class ActionMetrics(Collector):
    """To be read on the loop's thread: its values change under another one."""

    def __init__(self, sources: ActionSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """All families, with their values of now."""
        sources = self._sources
        images = {**sources.images.by_label, **sources.jobs.by_label}
        yield histograms_family(
            "engine_daemon_image_actions_seconds",
            "The number of seconds it takes to process each image action",
            "action",
            _only(IMAGE_ACTIONS, images),
        )
        yield histograms_family(
            "engine_daemon_network_actions_seconds",
            "The number of seconds it takes to process each network action",
            "action",
            _only(NETWORK_ACTIONS, sources.networks.by_label),
        )
        yield histograms_family(
            "engine_daemon_host_info_functions_seconds",
            "The number of seconds it takes to call functions gathering info about the host",
            "function",
            {"system_info": sources.answers.by_label.get(INFO, Histogram())},
        )
        yield CounterMetricFamily(
            "logger_log_write_operations_failed",
            "Number of log write operations that failed",
            value=sources.logs.refused_lines,
        )


def _only(names: tuple[str, ...], found: Mapping[str, Histogram]) -> Mapping[str, Histogram]:
    return {name: found.get(name) or Histogram() for name in names}
