"""One look at the cluster: what all decisions of one moment have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from services.cluster.model.objects import Cluster, Service, Task
from services.cluster.model.snapshot import Change, Put, Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.standing import Standing, standing
from services.cluster.orchestrator.tasks import asked, new_task

Group = tuple[Change, ...]  # changes that are made together


@dataclass(slots=True)
class Look:
    """A snapshot, the time, and what was found out about nodes on the way."""

    snapshot: Snapshot
    now: datetime
    new_id: Callable[[], str]
    _standings: dict[str, tuple[Standing, datetime | None]] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        """The cluster's own object."""
        return self.snapshot.cluster

    def standing(self, node_id: str) -> tuple[Standing, datetime | None]:
        """A node's standing, and when it may change by itself."""
        found = self._standings.get(node_id)
        if found is None:
            found = standing(self.snapshot.nodes.get(node_id), self.now)
            self._standings[node_id] = found
        return found

    def ask(self, task: Task, desired: TaskState) -> Put:
        """Ask something else of a task."""
        return Put(asked(task, desired, self.now))

    def make(
        self,
        service: Service,
        *,
        slot: int = 0,
        node_id: str = "",
        desired: TaskState = TaskState.RUNNING,
    ) -> Task:
        """A new task of a service."""
        return new_task(
            service,
            self.cluster,
            id=self.new_id(),
            now=self.now,
            slot=slot,
            node_id=node_id,
            desired=desired,
        )


@dataclass(slots=True)
class Plan:
    """What is to be changed, and when to look again if nothing happens before."""

    groups: list[Group] = field(default_factory=list)
    wake: datetime | None = None
    notes: list[str] = field(default_factory=list)

    def wake_at(self, at: datetime | None) -> None:
        """Look again then at the latest."""
        if at is not None and (self.wake is None or at < self.wake):
            self.wake = at

    def add(self, other: Plan) -> None:
        """Take in another's."""
        self.groups.extend(other.groups)
        self.notes.extend(other.notes)
        self.wake_at(other.wake)
