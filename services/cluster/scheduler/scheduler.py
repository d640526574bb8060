"""The rule that gives tasks their nodes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.model.batches import batches
from services.cluster.model.objects import Node, Task
from services.cluster.model.snapshot import Change, Decision, Diff, Put, Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.scheduler import filters
from services.cluster.scheduler.choice import Choice
from services.cluster.scheduler.demand import Demand, GroupKey, demand_of
from services.cluster.scheduler.loads import NodeLoad, NodeLoads

MAX_PLACED: Final = 250
"""What one decision moves at most, so that none takes long; the next one goes on at once."""

RETRY_EVERY: Final = timedelta(seconds=1)
"""How often tasks that found no node are tried again while room comes free."""


class Scheduler:
    """Moves tasks from PENDING to ASSIGNED, and says of those that find no node why.

    A task that has a node already (a global service's) is only checked.
    """

    def __init__(self) -> None:
        self._loads = NodeLoads()
        self._waiting: dict[GroupKey, set[str]] = {}
        self._group_of: dict[str, GroupKey] = {}
        self._stuck: set[GroupKey] = set()  # found no node; tried again when something changes
        self._has_news = False  # for those that are stuck
        self._tried_at: datetime | None = None
        self._unsure: set[str] = set()  # moved by the last decision: the store has the last word

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """Where tasks go now."""
        if diff.is_whole:
            self._begin_anew(snapshot, now)
        else:
            self._take_in(snapshot, diff, now)
        again_at = self._unstick(now)
        changes: list[Change] = []
        for group in [group for group in self._waiting if group not in self._stuck]:
            if len(changes) >= MAX_PLACED:
                break
            self._place_group(group, snapshot, now, changes)
        again_in_s = None if again_at is None else max(0.0, (again_at - now).total_seconds())
        if changes:
            again_in_s = 0.0
        return Decision(
            transactions=batches((change,) for change in changes), again_in_s=again_in_s
        )

    def _begin_anew(self, snapshot: Snapshot, now: datetime) -> None:
        self._loads = NodeLoads()
        self._waiting.clear()
        self._group_of.clear()
        self._stuck.clear()
        self._unsure = set()
        for node in snapshot.nodes.values():
            self._loads.put_node(node)
        for task in snapshot.tasks.values():
            self._note(task, now)

    def _take_in(self, snapshot: Snapshot, diff: Diff, now: datetime) -> None:
        touched = self._unsure | {one.id for one in diff.put if isinstance(one, Task)}
        touched.update(one.id for one in diff.deleted if isinstance(one, Task))
        self._unsure = set()
        for task_id in touched:
            task = snapshot.tasks.get(task_id)
            if task is not None:
                self._note(task, now)
            else:
                self._no_longer_waits(task_id)
                self._has_news |= self._loads.remove_task(task_id)
        for stored in (*diff.put, *diff.deleted):
            if isinstance(stored, Node):
                node = snapshot.nodes.get(stored.id)
                if node is not None:
                    self._loads.put_node(node)
                else:
                    self._loads.remove_node(stored.id)
                self._has_news = True

    def _note(self, task: Task, now: datetime) -> None:
        self._has_news |= self._loads.put_task(task, now)
        if task.status.state is TaskState.PENDING and task.desired_state <= TaskState.COMPLETE:
            if task.id not in self._group_of:
                # A task with a node of its own is a group by itself.
                group = (
                    (task.id, -1)
                    if task.node_id
                    else (task.service_id or task.id, task.spec_version)
                )
                self._group_of[task.id] = group
                self._waiting.setdefault(group, set()).add(task.id)
                self._stuck.discard(group)
        else:
            self._no_longer_waits(task.id)

    def _no_longer_waits(self, task_id: str) -> None:
        group = self._group_of.pop(task_id, None)
        if group is not None:
            tasks = self._waiting[group]
            tasks.discard(task_id)
            if not tasks:
                del self._waiting[group]
                self._stuck.discard(group)

    def _unstick(self, now: datetime) -> datetime | None:
        """Let those that found no node be tried again, or say when they may be."""
        if not self._stuck or not self._has_news:
            return None
        if self._tried_at is not None and now < self._tried_at + RETRY_EVERY:
            return self._tried_at + RETRY_EVERY
        self._stuck.clear()
        self._has_news = False
        self._tried_at = now
        return None

    def _place_group(
        self, group: GroupKey, snapshot: Snapshot, now: datetime, changes: list[Change]
    ) -> None:
        found = (snapshot.tasks.get(id) for id in sorted(self._waiting[group]))
        tasks = [task for task in found if task is not None]
        if not tasks:
            return
        demand = demand_of(tasks[0])
        if tasks[0].node_id:
            self._confirm(group, tasks[0], demand, now, changes)
            return
        choice = Choice(demand, self._loads, now)
        for index, task in enumerate(tasks):
            if len(changes) >= MAX_PLACED:
                return
            load = choice.next()
            if load is None:
                reason = filters.explain(demand, self._loads)
                if _explain(tasks[index:], reason, now, changes):
                    self._stuck.add(group)
                return
            self._assign(task, load, demand, "scheduler assigned task to node", now, changes)

    def _confirm(
        self, group: GroupKey, task: Task, demand: Demand, now: datetime, changes: list[Change]
    ) -> None:
        """Check a task's own node."""
        load = self._loads.get(task.node_id)
        if load is not None and filters.may_ever(demand, load) and filters.may_now(demand, load):
            said = "scheduler confirmed task can run on preassigned node"
            self._assign(task, load, demand, said, now, changes)
            return
        self._stuck.add(group)
        reason = filters.explain(demand, [load] if load is not None else [])
        _explain([task], reason, now, changes)

    def _assign(
        self,
        task: Task,
        load: NodeLoad,
        demand: Demand,
        message: str,
        now: datetime,
        changes: list[Change],
    ) -> None:
        claims = load.generic_claims(dict(demand.generic)) if demand.generic else None
        assigned = replace(
            task,
            node_id=load.node.id,
            generic_resources=claims or task.generic_resources,
            status=replace(
                task.status, state=TaskState.ASSIGNED, timestamp=now, message=message, err=""
            ),
            updated_at=now,
        )
        changes.append(Put(assigned))
        self._loads.put_task(assigned, now)
        self._unsure.add(task.id)


def _explain(tasks: list[Task], reason: str, now: datetime, changes: list[Change]) -> bool:
    """Say why tasks wait. What is said already is not written again. False: more is to be said."""
    for task in tasks:
        if task.status.err == reason:
            continue
        if len(changes) >= MAX_PLACED:
            return False
        status = replace(task.status, timestamp=now, err=reason)
        changes.append(Put(replace(task, status=status, updated_at=now)))
    return True
