"""The Prometheus face's parts, made only when it has an address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector

from services.containers import Containers
from services.events import EventBus
from services.metrics import EngineFacts, EngineMetrics, MetricsServer, SupervisionMetrics
from services.system import HostFacts

from .reports import TreeReports
from .sources import SNAPSHOTTER
from .version import VERSION, build_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsParts:
    """What makes a server for an address, and who counts what the tree goes through."""

    server: Callable[[str], MetricsServer]
    supervision: SupervisionMetrics


def build_metrics(
    *,
    facts: HostFacts,
    engine_id: str,
    containers: Containers,
    events: EventBus,
    reports: TreeReports,
) -> MetricsParts:
    """Make them."""
    registry = CollectorRegistry()
    engine = EngineFacts(
        version=VERSION,
        commit=build_id(),
        architecture=facts.architecture,
        graphdriver=SNAPSHOTTER,
        kernel=facts.kernel_version,
        os=facts.operating_system,
        os_type="linux",
        os_version=facts.os_version,
        daemon_id=engine_id,
        cpus=facts.ncpu,
        memory_bytes=facts.memory_total_bytes,
    )
    registry.register(
        EngineMetrics(
            engine,
            containers=containers,
            events=events,
            logs=containers.terminals.log_counts,
        )
    )
    supervision = SupervisionMetrics(reports)
    registry.register(supervision)
    ProcessCollector(registry=registry)
    return MetricsParts(
        server=lambda address: MetricsServer(address, registry), supervision=supervision
    )
