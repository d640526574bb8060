"""What the tests of the metrics share: parts that stand still, and an exposition of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from services.containers import Container
from services.containers.logs import LogCounts
from services.containers.stats import Sample
from services.measures import Counts, Durations, LoopLag
from services.metrics import (
    ActionMetrics,
    ActionSources,
    ContainerReader,
    EngineFacts,
    EngineMetrics,
    Exposition,
    RuntimeMetrics,
    RuntimeSources,
    SupervisionMetrics,
)
from services.metrics.container_rows import ContainerSource
from supervisor.otp import Supervisor

FACTS = EngineFacts(
    version="0.1.0",
    commit="c0ffee",
    architecture="x86_64",
    graphdriver="overlayfs",
    kernel="6.1.0",
    os="Debian GNU/Linux 12 (bookworm)",
    os_type="linux",
    os_version="12",
    daemon_id="id",
    cpus=4,
    memory_bytes=8 << 30,
)

Labels = frozenset[tuple[str, str]]


class FakeContainers:
    """Containers of which only numbers are asked."""

    def __init__(self) -> None:
        self.actions = Durations()
        self.probes = Counts()

    def count_states(self) -> Mapping[str, int]:
        return {"running": 3, "stopped": 2}


class FakeEvents:
    published = 17
    subscribers = 2


class FakeLogs:
    written_lines = 5
    written_bytes = 50
    dropped_lines = 1
    dropped_bytes = 10
    refused_lines = 6


class FakeBuilds:
    def __init__(self) -> None:
        self.triggered, self.open = 3, 1
        self.failures, self.durations = Counts(), Durations()


class FakeCalls:
    def __init__(self) -> None:
        self.calls, self.failures = Durations(), Counts()


class FakeApi:
    def __init__(self) -> None:
        self.durations, self.answers, self.open = Durations(), Counts(), 2


class FakeJobs:
    def __init__(self) -> None:
        self.durations, self.results = Durations(), Counts()
        self.under_way: Mapping[str, int] = Counter(pull=1)


class FakeReports:
    def __init__(self) -> None:
        self.restarts, self.reports, self.missed = Counts(), Counts(), 0


class NoContainers:
    """A `ContainerSource` without containers."""

    def running(self) -> Iterable[Container]:
        return ()

    def log_totals(self, container: Container) -> LogCounts:
        raise AssertionError

    def sample(self, container: Container) -> Sample:
        raise AssertionError


class FakeLogBudget:
    budget_bytes = 1000

    def __init__(self) -> None:
        self.used_bytes, self.removed_files, self.removed_bytes = 900, 3, 500


class Fakes:
    """All of it, and the exposition that reads it."""

    def __init__(self, root: Supervisor, containers: ContainerSource | None = None) -> None:
        self.containers, self.builds = FakeContainers(), FakeBuilds()
        self.calls, self.api, self.jobs = FakeCalls(), FakeApi(), FakeJobs()
        self.reports, self.lag = FakeReports(), LoopLag()
        engine = EngineMetrics(
            FACTS,
            containers=self.containers,
            events=FakeEvents(),
            logs=FakeLogs(),
            log_budget=FakeLogBudget(),
            builds=self.builds,
        )
        self.images, self.networks = Durations(), Durations()
        actions = ActionMetrics(
            ActionSources(
                images=self.images,
                jobs=self.jobs.durations,
                networks=self.networks,
                answers=self.api.durations,
                logs=FakeLogs(),
            )
        )
        runtime = RuntimeSources(
            lag=self.lag,
            containerd=self.calls,
            api=self.api,
            registry=self.jobs,
            queues={"store_writes": lambda: 7},
        )
        self.exposition = Exposition(
            on_loop=[
                engine,
                actions,
                SupervisionMetrics(root, self.reports),
                RuntimeMetrics(runtime),
            ],
            anywhere=[ProcessCollector(registry=CollectorRegistry())],
            containers=ContainerReader(containers or NoContainers()),
        )


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """The samples of Prometheus' classic text format."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def family_names(text: str) -> Sequence[str]:
    """The names that are followed by samples, or could be."""
    return [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
