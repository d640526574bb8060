"""The rule that takes tasks away that nobody needs any more, and then what only they were in.

Ended tasks are history: of each slot some are kept for people to look at. What was asked to go is
taken away once it has ended. What ran on a node that is gone for good has ended, as far as anybody
can ever say. A network that was removed goes with the last task that was in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.model.batches import batches
from services.cluster.model.objects import (
    Cluster,
    LeavingNetwork,
    Node,
    NodeState,
    Service,
    Task,
)
from services.cluster.model.snapshot import Change, Decision, Delete, Diff, Put, Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.grades import UNDER_WAY
from services.cluster.orchestrator.leaving_networks import LeavingNetworks
from services.cluster.orchestrator.slots import SlotKey, slot_key
from services.cluster.orchestrator.tasks import is_with_agent

ORPHANED_AFTER: Final = timedelta(hours=24)
"""How long a node is down before its tasks count as ended. Source: swarmkit, dispatcher.go."""

KEPT_IN_UPDATE: Final = 10
"""Failures of an update under way are kept at least so many a slot: the update counts them."""

MAX_CHANGES: Final = 250


class Reaper:
    """Deletes tasks and networks, and declares the tasks of lost nodes ORPHANED."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, SlotKey], set[str]] = {}
        self._slot_of: dict[str, tuple[str, SlotKey]] = {}
        self._open: set[tuple[str, SlotKey]] = set()
        self._single: set[str] = set()  # tasks to look at by themselves
        self._down: dict[str, datetime] = {}  # nodes, and when their tasks are given up
        self._gone: set[str] = set()  # nodes whose tasks are given up now
        self._leaving = LeavingNetworks()

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """What goes now."""
        if diff.is_whole:
            self._begin_anew(snapshot)
        else:
            self._take_in(snapshot, diff)
        changes: list[Change] = []
        self._give_up_nodes(snapshot, now, changes)
        seen: set[str] = set()
        for task_id in sorted(self._single):
            if len(changes) >= MAX_CHANGES:
                break
            task = snapshot.tasks.get(task_id)
            if task is not None and is_done_with(task):
                changes.append(Delete(task))
                seen.add(task_id)
            else:
                self._single.discard(task_id)
        for slot in sorted(self._open, key=str):
            if len(changes) >= MAX_CHANGES:
                break
            past = [task for task in self._past(slot, snapshot) if task.id not in seen]
            changes.extend(Delete(task) for task in past)
            if not past:
                self._open.discard(slot)
        changes.extend(Delete(network) for network in self._leaving.empty(snapshot))
        return Decision(
            transactions=batches((change,) for change in changes),
            again_in_s=0.0 if changes else self._next_in_s(now),
        )

    def _begin_anew(self, snapshot: Snapshot) -> None:
        self._slots.clear()
        self._slot_of.clear()
        self._down.clear()
        self._single.clear()
        self._open.clear()
        self._gone = set()
        self._leaving.begin_anew(snapshot)
        for node in snapshot.nodes.values():
            self._note_node(node.id, node)
        for task in snapshot.tasks.values():
            self._note_task(task, snapshot)

    def _take_in(self, snapshot: Snapshot, diff: Diff) -> None:
        for stored in diff.put:
            if isinstance(stored, Task):
                task = snapshot.tasks.get(stored.id, stored)
                self._note_task(task, snapshot)
                self._leaving.note_task(task)
            elif isinstance(stored, LeavingNetwork):
                self._leaving.note(stored, snapshot)
            elif isinstance(stored, Node):
                self._note_node(stored.id, snapshot.nodes.get(stored.id))
            elif isinstance(stored, Cluster):
                self._open.update(slot for slot, tasks in self._slots.items() if len(tasks) > 1)
            elif isinstance(stored, Service):
                # The end of an update lets go of what it had to count.
                self._open.update(
                    slot
                    for task in snapshot.tasks_of_service(stored.id)
                    if (slot := self._slot_of.get(task.id)) and len(self._slots[slot]) > 1
                )
        for stored in diff.deleted:
            if isinstance(stored, Task):
                self._forget(stored.id)
                self._leaving.forget_task(stored)
            elif isinstance(stored, LeavingNetwork):
                self._leaving.forget(stored.id)
            elif isinstance(stored, Node):
                self._note_node(stored.id, snapshot.nodes.get(stored.id))

    def _note_task(self, task: Task, snapshot: Snapshot) -> None:
        if task.desired_state > TaskState.COMPLETE or not task.service_id:
            self._single.add(task.id)
        if task.node_id and is_with_agent(task) and task.node_id not in snapshot.nodes:
            self._gone.add(task.node_id)
        service = snapshot.services.get(task.service_id)
        if service is None:
            return
        slot = (service.id, slot_key(service, task))
        if self._slot_of.get(task.id) != slot:
            self._forget(task.id)
            self._slot_of[task.id] = slot
            self._slots.setdefault(slot, set()).add(task.id)
        if len(self._slots[slot]) > 1 or task.status.state.is_ended:
            self._open.add(slot)

    def _forget(self, task_id: str) -> None:
        slot = self._slot_of.pop(task_id, None)
        if slot is not None:
            tasks = self._slots[slot]
            tasks.discard(task_id)
            if not tasks:
                del self._slots[slot]
                self._open.discard(slot)

    def _note_node(self, node_id: str, node: Node | None) -> None:
        self._down.pop(node_id, None)
        if node is None:
            self._gone.add(node_id)
        elif node.status.state is NodeState.DOWN:
            self._down[node_id] = (node.status.since or node.updated_at) + ORPHANED_AFTER

    def _give_up_nodes(self, snapshot: Snapshot, now: datetime, changes: list[Change]) -> None:
        due = {id for id, at in self._down.items() if at <= now}
        for node_id in due | self._gone:
            lost = [task for task in snapshot.tasks_of_node(node_id) if is_with_agent(task)]
            changes.extend(Put(_orphaned(task, now)) for task in lost)
            if not lost:
                self._gone.discard(node_id)
                self._down.pop(node_id, None)

    def _past(self, slot: tuple[str, SlotKey], snapshot: Snapshot) -> list[Task]:
        service = snapshot.services.get(slot[0])
        found = (snapshot.tasks.get(id) for id in self._slots.get(slot, ()))
        limit = snapshot.cluster.spec.orchestration.task_history_retention_limit
        if service is None:
            return []
        return surplus([task for task in found if task is not None], service, limit)

    def _next_in_s(self, now: datetime) -> float | None:
        if not self._down:
            return None
        return max(0.0, (min(self._down.values()) - now).total_seconds())


def is_done_with(task: Task) -> bool:
    """Whether a task may go, whatever the history.

    It was asked to go and has ended; or it was asked to stop before any agent had it, so that
    nobody will ever say that it ended; or it stood for a container of no service, and ended.
    """
    if task.status.state.is_ended:
        return task.desired_state is TaskState.REMOVE or not task.service_id
    return task.desired_state > TaskState.COMPLETE and task.status.state < TaskState.ASSIGNED


def surplus(tasks: Iterable[Task], service: Service, limit: int) -> list[Task]:
    """Of one slot's tasks, the ended ones that are more than the history keeps, oldest first.

    Source: swarmkit, task_reaper.go: the limit counts what runs too.
    """
    present = list(tasks)
    status = service.update_status
    if limit >= 0 and status is not None and status.state in UNDER_WAY:
        limit = max(limit, KEPT_IN_UPDATE)
    if limit < 0 or len(present) <= limit:
        return []
    ended = [
        task
        for task in present
        if task.status.state.is_ended and task.desired_state > TaskState.COMPLETE
    ]
    ended.sort(key=lambda task: (task.status.timestamp or task.created_at, task.id))
    if limit == 0 and len(ended) == len(present):
        # The last one says that the slot is settled: without it the slot would be filled again.
        return ended[:-1]
    return ended[: len(present) - limit]


def _orphaned(task: Task, now: datetime) -> Task:
    status = replace(task.status, state=TaskState.ORPHANED, timestamp=now, message="node is gone")
    return replace(task, status=status, updated_at=now)
