"""The parts of the observer, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.containers import ContainerTable
from services.measures import LoopLag

from .census import WaitClock
from .history import ReportHistory, ReportSource
from .restarts import RestartableTree, Restarts
from .tree import ContainerFacts, Pictures


class ObservedTree(ReportSource, RestartableTree, Protocol):
    """The supervision tree: its reports, its picture, its supervisors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """What is seen of the engine. `history`, `lag` and `waits` are to be supervised."""

    history: ReportHistory
    lag: LoopLag
    waits: WaitClock
    pictures: Pictures
    restarts: Restarts


def build_observer(tree: ObservedTree, containers: ContainerTable) -> Observer:
    """Make it. Nothing is asked of the tree before it runs."""
    return Observer(
        history=ReportHistory(tree),
        lag=LoopLag(),
        waits=WaitClock(),
        pictures=Pictures(tree, TableNames(containers)),
        restarts=Restarts(tree),
    )


class TableNames:
    """Who the containers are, by the table of them."""

    def __init__(self, table: ContainerTable) -> None:
        self._table = table

    def facts(self, container_id: str) -> ContainerFacts | None:
        """None: there is no such container."""
        container = self._table.get(container_id)
        if container is None:
            return None
        health = container.health
        return ContainerFacts(
            id=container.id,
            name=container.name,
            image=container.definition.config.image,
            state=container.state.value,
            health="" if health is None else health.status.value,
        )
