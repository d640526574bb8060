"""The Prometheus face: there when it has an address, and imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from services.api.front.measures import ApiMeasures
from services.build import Builder
from services.containers import Container
from services.containers.containers import Containers
from services.containers.log_budget import LogBudget
from services.containers.logs import LogCounts
from services.containers.stats import Sample
from services.observer import ObservedTree, Observer
from supervisor.engine.ground import SNAPSHOTTER, GroundParts
from supervisor.version import VERSION, build_id

if TYPE_CHECKING:
    from services.metrics import EngineFacts, Exposition, MetricsServer, Scrape


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSources:
    """The parts whose counters are shown."""

    ground: GroundParts
    containers: Containers
    log_budget: LogBudget
    builder: Builder
    observer: Observer
    tree: ObservedTree
    api: ApiMeasures


class LazyMetrics:
    """The metrics, made when they are first asked for: that imports the Prometheus client."""

    def __init__(self, sources: MetricsSources) -> None:
        self._sources = sources
        self._exposition: Exposition | None = None

    def exposition(self) -> Exposition:
        """The one exposition. The first call takes a tenth of a second."""
        if self._exposition is None:
            self._exposition = _build_exposition(self._sources)
        return self._exposition

    async def render(self, *, accept: str) -> Scrape:
        """As `Exposition.render`."""
        await self._load()
        return await self.exposition().render(accept=accept)

    async def server(self, address: str) -> MetricsServer:
        """A server at an address."""
        await self._load()
        from services.metrics import MetricsServer

        return MetricsServer(address, self.exposition())

    async def _load(self) -> None:
        """Import what takes its time in a thread."""
        if self._exposition is None:
            await trio.to_thread.run_sync(importlib.import_module, "services.metrics")


class MetricsFace:
    """`serve` is a supervised child, which ends at once without an address.

    What is counted outlives a change of the address.
    """

    def __init__(self, metrics: LazyMetrics, address: str) -> None:
        self._metrics = metrics
        self.address = address  # host:port; empty: no metrics. For the next `serve`

    async def serve(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve at the address; ready once it listens, never without one. As MetricsServer.run."""
        if self.address:
            server = await self._metrics.server(self.address)
            await server.run(task_status=task_status)


def _build_exposition(sources: MetricsSources) -> Exposition:
    from prometheus_client import CollectorRegistry, ProcessCollector

    from services.metrics import (
        ActionMetrics,
        ActionSources,
        ContainerReader,
        EngineMetrics,
        Exposition,
        RuntimeMetrics,
        RuntimeSources,
        SupervisionMetrics,
    )

    containers, observer = sources.containers, sources.observer
    return Exposition(
        on_loop=[
            EngineMetrics(
                _facts(sources),
                containers=containers,
                events=sources.ground.bus,
                logs=containers.terminals.log_counts,
                log_budget=sources.log_budget,
                builds=sources.builder,
            ),
            ActionMetrics(
                ActionSources(
                    images=sources.ground.images.actions,
                    jobs=sources.ground.registry.jobs.durations,
                    networks=sources.ground.net.sandboxes.actions,
                    answers=sources.api.durations,
                    logs=containers.terminals.log_counts,
                )
            ),
            SupervisionMetrics(sources.tree, observer.history),
            RuntimeMetrics(
                RuntimeSources(
                    lag=observer.lag,
                    containerd=sources.ground.containerd.connection,
                    api=sources.api,
                    registry=sources.ground.registry.jobs,
                    queues=_queues(sources),
                )
            ),
        ],
        anywhere=[ProcessCollector(registry=CollectorRegistry())],
        containers=ContainerReader(_RunningContainers(containers)),
    )


def _facts(sources: MetricsSources) -> EngineFacts:
    from services.metrics import EngineFacts

    facts = sources.ground.facts
    return EngineFacts(
        version=VERSION,
        commit=build_id(),
        architecture=facts.architecture,
        graphdriver=SNAPSHOTTER,
        kernel=facts.kernel_version,
        os=facts.operating_system,
        os_type="linux",
        os_version=facts.os_version,
        daemon_id=sources.ground.engine_id,
        cpus=facts.ncpu,
        memory_bytes=facts.memory_total_bytes,
    )


def _queues(sources: MetricsSources) -> Mapping[str, Callable[[], int]]:
    """How much waits, by queue."""
    return {
        "store_writes": lambda: sources.ground.store.waiting_writes,
        "events_to_store": lambda: sources.ground.bus.waiting,
    }


class _RunningContainers:
    """The containers as the metrics need them."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def running(self) -> Iterable[Container]:
        """Those that run, paused ones too."""
        return (container for container in self._containers.table if container.state.has_task)

    def log_totals(self, container: Container) -> LogCounts:
        """Since the daemon started."""
        return self._containers.terminals.counts_of(container)

    def sample(self, container: Container) -> Sample:
        """Blocks. OSError: it does not run any more."""
        return self._containers.statistics.take(container)
