"""Which node the next task of a group goes to: the one that carries least.

Least of its service first, then of all tasks. With preferences the nodes are a tree whose branches
are labels' values, and each branch gets as many of the service's tasks as its siblings.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.cluster.scheduler.constraints import label_of
from services.cluster.scheduler.demand import Demand
from services.cluster.scheduler.filters import may_ever, may_now
from services.cluster.scheduler.loads import NodeLoad

Rank = tuple[int, int, int, int]


@dataclass(slots=True)
class _Branch:
    """Nodes that are alike in the labels so far. `count` is how many of the service they have."""

    count: int = 0
    children: dict[str, _Branch] = field(default_factory=dict)
    heap: list[tuple[Rank, NodeLoad]] = field(default_factory=list)


class Choice:
    """The nodes that one group may use. Ask for the next, count the task on it, ask again.

    Nodes' loads must not change otherwise meanwhile.
    """

    def __init__(self, demand: Demand, loads: Iterable[NodeLoad], now: datetime) -> None:
        self._demand = demand
        self._now = now
        self._root = _Branch()
        self._taken: tuple[NodeLoad, Sequence[_Branch]] | None = None
        for load in loads:
            if may_ever(demand, load):
                self._plant(load)

    def next(self) -> NodeLoad | None:
        """The node that is best now; None when none will do."""
        self._put_back()
        path: list[_Branch] = []
        load = self._take(self._root, path)
        if load is not None:
            for branch in path:
                branch.count += 1
            self._taken = (load, path)
        return load

    def _take(self, branch: _Branch, path: list[_Branch]) -> NodeLoad | None:
        """Take the best node below a branch out of its heap, and cut off what is used up."""
        path.append(branch)
        while branch.heap:
            _, load = heapq.heappop(branch.heap)
            if may_now(self._demand, load):
                return load
        while branch.children:
            value = min(branch.children, key=lambda one: (branch.children[one].count, one))
            found = self._take(branch.children[value], path)
            if found is not None:
                return found
            del branch.children[value]
        path.pop()
        return None

    def _put_back(self) -> None:
        """The node that was taken last may be taken again, at its new rank."""
        if self._taken is not None:
            load, path = self._taken
            heapq.heappush(path[-1].heap, (self._rank(load), load))
            self._taken = None

    def _plant(self, load: NodeLoad) -> None:
        has = load.services[self._demand.group[0]]
        branch = self._root
        branch.count += has
        for label in self._demand.preferences:
            value = label_of(label, load.node)
            branch = branch.children.setdefault(value, _Branch())
            branch.count += has
        heapq.heappush(branch.heap, (self._rank(load), load))

    def _rank(self, load: NodeLoad) -> Rank:
        group = self._demand.group
        failures = load.recent_failures(group, self._now) if load.failures else 0
        return failures, load.services[group[0]], load.total, load.order
