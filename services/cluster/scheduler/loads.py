"""What nodes carry: resources set aside, ports taken, tasks of each service, recent failures."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.cluster.model.objects import Node, Task
from services.cluster.model.task_spec import GenericResource
from services.cluster.model.task_state import TaskState
from services.cluster.scheduler.demand import GroupKey, HostPort, host_ports
from services.cluster.scheduler.generic import claimed

FAILURES_COUNT: Final = 5
FAILURES_WITHIN: Final = timedelta(minutes=5)
"""A node on which tasks of one spec failed so often in this time comes last for that spec. Source:
swarmkit, nodeinfo.go."""


@dataclass(slots=True, eq=False)
class NodeLoad:
    """One node's. `services` counts the tasks that are wanted there, by service."""

    node: Node
    order: int  # breaks ties, so that the same cluster is decided the same
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: dict[str, list[GenericResource]] = field(default_factory=dict)  # by task
    total: int = 0
    services: Counter[str] = field(default_factory=Counter)
    ports: Counter[HostPort] = field(default_factory=Counter)
    failures: dict[GroupKey, deque[datetime]] = field(default_factory=dict)

    def recent_failures(self, group: GroupKey, now: datetime) -> int:
        """How many tasks of a spec failed there lately; 0 below the number that matters."""
        times = self.failures.get(group)
        if times is None:
            return 0
        while times and times[0] < now - FAILURES_WITHIN:
            times.popleft()
        if not times:
            del self.failures[group]
        return len(times) if len(times) >= FAILURES_COUNT else 0

    def generic_claims(self, wanted: dict[str, int]) -> list[GenericResource] | None:
        """What a task would get; None where there is too little."""
        taken = (one for claims in self.generic.values() for one in claims)
        return claimed(wanted, self.node.description.resources.generic_resources, taken)


class NodeLoads:
    """All nodes'. A task counts where it is assigned until its agent says that it has ended."""

    def __init__(self) -> None:
        self._loads: dict[str, NodeLoad] = {}
        self._counted: dict[str, Task] = {}
        self._by_node: dict[str, set[str]] = {}  # counted tasks; also of nodes not known (yet)
        self._order = 0

    def __iter__(self) -> Iterator[NodeLoad]:
        return iter(self._loads.values())

    def get(self, node_id: str) -> NodeLoad | None:
        """One node's load."""
        return self._loads.get(node_id)

    def put_node(self, node: Node) -> None:
        """A node is new, or something about it has changed."""
        load = self._loads.get(node.id)
        if load is not None:
            load.node = node
            return
        self._order += 1
        load = self._loads[node.id] = NodeLoad(node, self._order)
        for task_id in self._by_node.get(node.id, ()):
            _add(load, self._counted[task_id], 1)

    def remove_node(self, node_id: str) -> None:
        """A node was taken out of the cluster."""
        self._loads.pop(node_id, None)

    def put_task(self, task: Task, now: datetime) -> bool:
        """A task has changed. True if a node has more room than before."""
        before = self._counted.get(task.id)
        if before is task:
            return False
        if not task.node_id or not _counts(task):
            if before is None:
                return False
            self._uncount(before)
            if task.status.state in (TaskState.FAILED, TaskState.REJECTED):
                self._note_failure(task, now)
            return True
        if before is not None and _weighs_alike(before, task):
            self._counted[task.id] = task
            return False
        if before is not None:
            self._uncount(before)
        self._counted[task.id] = task
        self._by_node.setdefault(task.node_id, set()).add(task.id)
        load = self._loads.get(task.node_id)
        if load is not None:
            _add(load, task, 1)
        return before is not None and _is_active(before) and not _is_active(task)

    def remove_task(self, task_id: str) -> bool:
        """A task is no longer there. True if a node has more room than before."""
        before = self._counted.get(task_id)
        if before is None:
            return False
        self._uncount(before)
        return True

    def _uncount(self, task: Task) -> None:
        del self._counted[task.id]
        tasks = self._by_node[task.node_id]
        tasks.discard(task.id)
        if not tasks:
            del self._by_node[task.node_id]
        load = self._loads.get(task.node_id)
        if load is not None:
            _add(load, task, -1)

    def _note_failure(self, task: Task, now: datetime) -> None:
        load = self._loads.get(task.node_id)
        if load is not None and task.service_id:
            group = (task.service_id, task.spec_version)
            load.failures.setdefault(group, deque(maxlen=4 * FAILURES_COUNT)).append(now)


def _counts(task: Task) -> bool:
    return TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def _is_active(task: Task) -> bool:
    return task.desired_state <= TaskState.COMPLETE


def _weighs_alike(one: Task, other: Task) -> bool:
    return (
        one.node_id == other.node_id
        and _is_active(one) == _is_active(other)
        and (one.spec is other.spec or one.spec == other.spec)
        and (one.endpoint is other.endpoint or one.endpoint == other.endpoint)
        and one.generic_resources == other.generic_resources
    )


def _add(load: NodeLoad, task: Task, sign: int) -> None:
    reserved = task.spec.resources.reservations if task.spec.resources else None
    if reserved is not None:
        load.nano_cpus += sign * reserved.nano_cpus
        load.memory_bytes += sign * reserved.memory_bytes
    if task.generic_resources:
        if sign > 0:
            load.generic[task.id] = task.generic_resources
        else:
            load.generic.pop(task.id, None)
    if _is_active(task):
        load.total += sign
        if task.service_id:
            load.services[task.service_id] += sign
            if not load.services[task.service_id]:
                del load.services[task.service_id]
    if task.endpoint is not None and task.endpoint.ports:
        for port in host_ports(task):
            load.ports[port] += sign
            if not load.ports[port]:
                del load.ports[port]
