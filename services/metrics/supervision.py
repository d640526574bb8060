"""What the supervision tree went through and how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.measures import Counts
from supervisor.otp import Node

from .families import counts_family

DEPTH: Final = 3
"""Levels of the tree: what is below is containers and pulls, which come and go."""


class Tree(Protocol):
    """The supervision tree."""

    def tree(self, depth: int | None = None) -> Node:
        """Its picture."""
        ...


class ReportCounts(Protocol):
    """What the tree has reported since the daemon started; ids of containers are folded."""

    missed: int

    @property
    def restarts(self) -> Counts:
        """By supervisor and child."""
        ...

    @property
    def reports(self) -> Counts:
        """By supervisor and kind."""
        ...


class SupervisionMetrics(Collector):
    """The daemon's own parts one by one; those of containers by their supervisor."""

    def __init__(self, tree: Tree, reports: ReportCounts) -> None:
        self._tree = tree
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        """All families, with their values of now."""
        yield counts_family(
            "wharfinger_supervision_restarts",
            "Children of the supervision tree that became ready again after a restart",
            ["supervisor", "child"],
            self._reports.restarts,
        )
        yield counts_family(
            "wharfinger_supervision_reports",
            "Reports of the supervision tree, without those of progress",
            ["supervisor", "kind"],
            self._reports.reports,
        )
        yield CounterMetricFamily(
            "wharfinger_supervision_reports_missed",
            "Reports that were dropped because counting them fell behind",
            value=self._reports.missed,
        )
        yield from self._now(self._tree.tree(DEPTH))

    def _now(self, root: Node) -> Iterator[Metric]:
        now = trio.current_time()
        crashes = CounterMetricFamily(
            "wharfinger_supervision_crashes",
            "Crashes of a part, and restarts of it that failed, since its supervisor started",
            labels=["part"],
        )
        states = GaugeMetricFamily(
            "wharfinger_supervision_state_seconds",
            "For how long a part has been in its state, which is a label",
            labels=["part", "state"],
        )
        left, limit, children = (
            GaugeMetricFamily(f"wharfinger_supervision_{name}", help_text, labels=["supervisor"])
            for name, help_text in (
                ("restarts_left", "Restarts that a supervisor still allows before it gives up"),
                ("restarts_limit", "Restarts that a supervisor allows within its period"),
                ("children", "Children of a supervisor, running or not"),
            )
        )
        for node in _lasting(root):
            crashes.add_metric([node.path], node.crashes)
            states.add_metric([node.path, node.state.value], max(0.0, now - node.state_since))
            if node.supervisor is not None:
                left.add_metric([node.path], node.supervisor.restarts_left)
                limit.add_metric([node.path], node.supervisor.max_restarts)
                children.add_metric([node.path], node.supervisor.child_count)
        yield from (crashes, states, left, limit, children)


def _lasting(node: Node) -> Iterator[Node]:
    """The parts that are always there: not the children of dynamic supervisors."""
    yield node
    if node.supervisor is not None and node.supervisor.strategy is None:
        return
    for child in node.children:
        yield from _lasting(child)
