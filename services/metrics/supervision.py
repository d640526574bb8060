"""What the supervision tree went through: restarts and reports, counted by place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final, Protocol

import trio
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.otp import Report, ReportKind, Subscription

BACKLOG: Final = 10_000  # unread reports; the oldest are dropped past that, and counted as missed

# The parts of one container stand under its id; a series for each would grow without bound.
_ID: Final = re.compile(r"[0-9a-f]{64}")


class ReportSource(Protocol):
    """The root supervisor, as far as its reports go."""

    def subscribe(self, limit: int = ...) -> AbstractContextManager[Subscription]:
        """The reports of the whole tree from now on."""
        ...


class SupervisionMetrics(Collector):
    """Counts the tree's reports while `run` runs. The counts outlive its restarts.

    wharfinger_supervision_restarts_total{supervisor,child}: children that are ready again.
    wharfinger_supervision_reports_total{supervisor,kind}: all but progress, as in `ReportKind`.
    wharfinger_supervision_reports_missed_total: dropped because counting fell behind.
    """

    def __init__(self, source: ReportSource) -> None:
        self._source = source
        self._restarts: Counter[tuple[str, str]] = Counter()
        self._reports: Counter[tuple[str, str]] = Counter()
        self._missed = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count until cancelled."""
        with self._source.subscribe(BACKLOG) as reports:
            task_status.started()
            missed_before = self._missed
            async for report in reports:
                self._count(report)
                self._missed = missed_before + reports.missed

    def collect(self) -> Iterator[Metric]:
        """All families, with their values of now."""
        restarts = CounterMetricFamily(
            "wharfinger_supervision_restarts",
            "Children of the supervision tree that became ready again after a restart",
            labels=["supervisor", "child"],
        )
        for labels, count in sorted(self._restarts.items()):
            restarts.add_metric(labels, count)
        yield restarts
        reports = CounterMetricFamily(
            "wharfinger_supervision_reports",
            "Reports of the supervision tree, without those of progress",
            labels=["supervisor", "kind"],
        )
        for labels, count in sorted(self._reports.items()):
            reports.add_metric(labels, count)
        yield reports
        yield CounterMetricFamily(
            "wharfinger_supervision_reports_missed",
            "Reports that were dropped because counting them fell behind",
            value=self._missed,
        )

    def _count(self, report: Report) -> None:
        supervisor = _ID.sub("*", report.supervisor)
        if report.kind is not ReportKind.PROGRESS:
            self._reports[supervisor, report.kind.value] += 1
        elif report.restarts > 0:
            self._restarts[supervisor, _ID.sub("*", report.child_id)] += 1
