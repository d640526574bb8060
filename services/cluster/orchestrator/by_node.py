"""Global services: one task on each node that fits."""

from __future__ import annotations

from services.cluster.model.objects import Node, Service
from services.cluster.model.snapshot import Put
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator import updates
from services.cluster.orchestrator.grades import Fill
from services.cluster.orchestrator.look import Group, Look, Plan
from services.cluster.orchestrator.mending import mend
from services.cluster.orchestrator.slots import SlotKey, SlotTable
from services.cluster.orchestrator.standing import Standing
from services.cluster.orchestrator.tasks import is_wanted
from services.cluster.scheduler import constraints


def decide(service: Service, table: SlotTable, look: Look) -> Plan:
    """Each node that has changed gets what it lacks, and loses what it may not have."""
    plan = Plan()
    held: set[SlotKey] = set()
    for key in table.changed:
        decided = _at_node(service, table, str(key), look)
        if decided.groups:
            held.add(key)
        plan.add(decided)
        if decided.wake is not None:
            table.wakes[key] = decided.wake
    grades = {
        key: grade
        for key, grade in table.grades.items()
        if (grade.is_dirty or grade.is_updated)
        and grade.fill is not Fill.EMPTY
        and look.standing(str(key))[0] is Standing.GOOD
    }
    plan.add(updates.step(service, table.slots, grades, look, held=held))
    return plan


def fits(service: Service, node: Node) -> bool:
    """Whether a node meets the constraints, and is of a platform that the service names."""
    placement = service.spec.task_template.placement
    return placement is None or constraints.allow(placement.constraints, node)


def _at_node(service: Service, table: SlotTable, node_id: str, look: Look) -> Plan:
    node = look.snapshot.nodes.get(node_id)
    if node is None:
        return Plan(groups=_asked(table, node_id, TaskState.REMOVE, look))
    state, until = look.standing(node_id)
    if not fits(service, node) or not state.keeps_tasks:
        return Plan(groups=_asked(table, node_id, TaskState.SHUTDOWN, look))
    plan = mend(service, table.slots.get(node_id, ()), look)
    plan.wake_at(until)
    grade = table.grades.get(node_id)
    is_empty = grade is None or grade.fill is Fill.EMPTY
    if is_empty and state is Standing.GOOD:
        plan.groups.append((Put(look.make(service, node_id=node_id)),))
    return plan


def _asked(table: SlotTable, node_id: str, desired: TaskState, look: Look) -> list[Group]:
    return [
        (look.ask(task, desired),)
        for task in table.slots.get(node_id, ())
        if task.desired_state < desired and (desired is TaskState.REMOVE or is_wanted(task))
    ]
