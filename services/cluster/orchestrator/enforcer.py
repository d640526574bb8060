"""The rule that turns tasks away from nodes that no longer suit them.

A label or a resource of a node may change under its tasks. What does not fit any more is REJECTED,
so that the orchestrator restarts it elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from services.cluster.model.batches import batches
from services.cluster.model.objects import Node, Task
from services.cluster.model.snapshot import Decision, Diff, Put, Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.scheduler import constraints
from services.cluster.scheduler.generic import amounts


class Enforcer:
    """Looks at a node's tasks when the node changes. Paused and drained ones are left alone."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """What is to be turned away."""
        if diff.is_whole:
            self._open = set(snapshot.nodes)
        self._open.update(one.id for one in diff.put if isinstance(one, Node))
        changes: list[Put] = []
        for node_id in sorted(self._open):
            node = snapshot.nodes.get(node_id)
            rejected = list(unsuited(node, snapshot.tasks_of_node(node_id))) if node else []
            if not rejected:
                self._open.discard(node_id)  # else it is looked at until the store has it so
            changes.extend(Put(_rejected(task, now)) for task in rejected)
        return Decision(
            transactions=batches((change,) for change in changes),
            again_in_s=0.0 if changes else None,
        )


def unsuited(node: Node, tasks: Iterable[Task]) -> Iterator[Task]:
    """The tasks that a node may not keep. Of those that are too many, the youngest go."""
    if node.spec.availability != "active":
        return
    has = node.description.resources
    cpus, memory = has.nano_cpus, has.memory_bytes
    generic = Counter(amounts(has.generic_resources))
    for task in sorted(tasks, key=lambda one: (one.created_at, one.id)):
        if not _is_here(task):
            continue
        placement = task.spec.placement
        if placement is not None and not constraints.allow(placement.constraints, node):
            yield task
            continue
        reserved = task.spec.resources.reservations if task.spec.resources else None
        if reserved is None:
            continue
        claims = Counter(amounts(task.generic_resources))
        if (
            (reserved.nano_cpus and reserved.nano_cpus > cpus)
            or (reserved.memory_bytes and reserved.memory_bytes > memory)
            or any(count > generic[kind] for kind, count in claims.items())
        ):
            yield task
            continue
        cpus -= reserved.nano_cpus
        memory -= reserved.memory_bytes
        generic.subtract(claims)


def _is_here(task: Task) -> bool:
    return (
        task.desired_state <= TaskState.COMPLETE
        and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING
    )


def _rejected(task: Task, now: datetime) -> Task:
    status = replace(
        task.status,
        state=TaskState.REJECTED,
        timestamp=now,
        message="task rejected by constraint enforcer",
        err="assigned node no longer meets constraints",
    )
    return replace(task, status=status, updated_at=now)
