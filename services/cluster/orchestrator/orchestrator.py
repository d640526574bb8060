"""The rule that keeps services' tasks as many and as new as their specs want them.

It remembers services' slots and which of them have changed, so that a task's step costs what its
slot costs, and not what its service does. What it remembers can be read anew at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from services.cluster.model.batches import batches
from services.cluster.model.objects import Node, Service, Task
from services.cluster.model.snapshot import Decision, Diff, Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import new_id as random_id
from services.cluster.orchestrator import by_node, jobs, replicated
from services.cluster.orchestrator.grades import grade
from services.cluster.orchestrator.look import Look, Plan
from services.cluster.orchestrator.slots import SlotTable, slot_key
from services.cluster.orchestrator.tasks import Mode, mode_of

MAX_GROUPS: Final = 250
"""What one decision asks for at most, so that none takes long; the next one goes on at once."""

_DECIDE: Final[Mapping[Mode, Callable[[Service, SlotTable, Look], Plan]]] = MappingProxyType(
    {
        Mode.REPLICATED: replicated.decide,
        Mode.GLOBAL: by_node.decide,
        Mode.REPLICATED_JOB: jobs.decide,
        Mode.GLOBAL_JOB: jobs.decide,
    }
)


class Orchestrator:
    """Scales, restarts, updates, and ends tasks. It alone makes tasks, and says what they shall do.

    `new_id` gives a new task its id.
    """

    def __init__(self, *, new_id: Callable[[], str] = random_id) -> None:
        self._new_id = new_id
        self._tables: dict[str, SlotTable] = {}
        self._seen: dict[str, object] = {}  # by service: what its slots' grades depend on
        self._by_node: set[str] = set()  # services whose slots are nodes
        self._open: set[str] = set()  # services to look at
        self._wakes: dict[str, datetime] = {}
        self._strays: dict[str, None] = {}  # tasks whose service is gone

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """What services need now."""
        if diff.is_whole:
            self._begin_anew(snapshot)
        else:
            self._take_in(snapshot, diff)
        self._wake(now)
        look = Look(snapshot, now, self._new_id)
        plan = self._strays_removed(look)
        for service_id in sorted(self._open):
            if len(plan.groups) >= MAX_GROUPS:
                break
            plan.add(self._decide_service(service_id, look))
        return self._decision(plan, now)

    def _begin_anew(self, snapshot: Snapshot) -> None:
        self._tables.clear()
        self._seen.clear()
        self._by_node.clear()
        self._wakes.clear()
        self._open = set(snapshot.services)
        services = snapshot.services
        self._strays = {
            task.id: None
            for task in snapshot.tasks.values()
            if task.service_id and task.service_id not in services
        }

    def _take_in(self, snapshot: Snapshot, diff: Diff) -> None:
        for stored in diff.put:
            if isinstance(stored, Task):
                self._note_task(snapshot, snapshot.tasks.get(stored.id, stored))
            elif isinstance(stored, Service):
                self._open.add(stored.id)
            elif isinstance(stored, Node):
                self._note_node(snapshot, stored.id)
        for stored in diff.deleted:
            if isinstance(stored, Task):
                self._note_task_gone(snapshot, stored)
            elif isinstance(stored, Service) and stored.id not in snapshot.services:
                self._forget(stored.id)
                for task in snapshot.tasks_of_service(stored.id):
                    self._strays[task.id] = None
            elif isinstance(stored, Node):
                self._note_node(snapshot, stored.id)

    def _note_task(self, snapshot: Snapshot, task: Task) -> None:
        service = snapshot.services.get(task.service_id)
        if service is None:
            if task.service_id:
                self._strays[task.id] = None
            return
        self._open.add(service.id)
        table = self._tables.get(service.id)
        if table is not None:
            table.put(slot_key(service, task), task)

    def _note_task_gone(self, snapshot: Snapshot, task: Task) -> None:
        self._strays.pop(task.id, None)
        service, table = snapshot.services.get(task.service_id), self._tables.get(task.service_id)
        if service is not None and table is not None and task.id not in snapshot.tasks:
            table.discard(slot_key(service, task), task.id)
            self._open.add(service.id)

    def _note_node(self, snapshot: Snapshot, node_id: str) -> None:
        """A node's state or labels may matter to all that runs there, and to global services."""
        for task in snapshot.tasks_of_node(node_id):
            self._note_task(snapshot, task)
        for service_id in self._by_node:
            table = self._tables.get(service_id)
            if table is not None:
                table.changed.add(node_id)
                self._open.add(service_id)

    def _wake(self, now: datetime) -> None:
        for service_id in [id for id, at in self._wakes.items() if at <= now]:
            del self._wakes[service_id]
            self._open.add(service_id)
            table = self._tables.get(service_id)
            if table is not None:
                table.changed.update(key for key, at in table.wakes.items() if at <= now)

    def _decide_service(self, service_id: str, look: Look) -> Plan:
        service = look.snapshot.services.get(service_id)
        if service is None:
            self._forget(service_id)
            return Plan()
        table = self._table(service, look)
        for key in table.changed:
            table.wakes.pop(key, None)
            tasks = table.slots.get(key)
            if tasks:
                table.grades[key] = grade(service, tasks, look.snapshot)
        plan = _DECIDE[mode_of(service)](service, table, look)
        wakes = [plan.wake] if plan.wake is not None else []
        wakes.extend(table.wakes.values())
        self._wakes.pop(service_id, None)
        if wakes:
            self._wakes[service_id] = min(wakes)
        if not plan.groups:
            table.changed.clear()
            self._open.discard(service_id)
        return plan

    def _table(self, service: Service, look: Look) -> SlotTable:
        """A service's table, with all of it changed where grades no longer hold."""
        table = self._tables.get(service.id)
        if table is None:
            table = SlotTable.of(service, look.snapshot.tasks_of_service(service.id))
            self._tables[service.id] = table
        facts = _grading_facts(service)
        if self._seen.get(service.id) != facts:
            self._seen[service.id] = facts
            table.changed.update(table.slots)
            if mode_of(service).is_by_node:
                self._by_node.add(service.id)
                table.changed.update(look.snapshot.nodes)
        return table

    def _forget(self, service_id: str) -> None:
        self._tables.pop(service_id, None)
        self._seen.pop(service_id, None)
        self._by_node.discard(service_id)
        self._open.discard(service_id)
        self._wakes.pop(service_id, None)

    def _strays_removed(self, look: Look) -> Plan:
        """Tasks that no service wants any more are asked to end, and then go."""
        plan = Plan()
        for task_id in list(self._strays):
            if len(plan.groups) >= MAX_GROUPS:
                break
            task = look.snapshot.tasks.get(task_id)
            if task is None or task.desired_state >= TaskState.REMOVE:
                del self._strays[task_id]
            else:
                plan.groups.append((look.ask(task, TaskState.REMOVE),))
        return plan

    def _decision(self, plan: Plan, now: datetime) -> Decision:
        again_in_s: float | None = None
        if self._wakes:
            again_in_s = max(0.0, (min(self._wakes.values()) - now).total_seconds())
        if plan.groups:
            again_in_s = 0.0  # what is asked for has to be seen to be so
        return Decision(
            transactions=batches(plan.groups), again_in_s=again_in_s, notes=tuple(plan.notes)
        )


def _grading_facts(service: Service) -> object:
    status, placement = service.update_status, service.spec.task_template.placement
    return (
        mode_of(service),
        service.spec_version,
        status.state if status else "",
        service.job_status.iteration if service.job_status else 0,
        placement,
    )
