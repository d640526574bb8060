"""Replicated services: as many slots as replicas, numbered from 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from services.cluster.model.objects import Service, Task
from services.cluster.model.snapshot import Put
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator import updates
from services.cluster.orchestrator.grades import Fill, Grade
from services.cluster.orchestrator.look import Group, Look, Plan
from services.cluster.orchestrator.mending import mend
from services.cluster.orchestrator.slots import SlotKey, SlotTable
from services.cluster.orchestrator.tasks import is_wanted

MAX_NEW: Final = 250
"""Tasks that are made at one look; the next one goes on. So no look takes long."""


def decide(service: Service, table: SlotTable, look: Look) -> Plan:
    """Mend what has changed, then scale, then take the next step of an update.

    `table.grades` is up to date. Slots that have something to be done stay in `table.changed`.
    """
    plan = Plan()
    held: set[SlotKey] = set()
    for key in table.changed:
        tasks = table.slots.get(key, ())
        mended = mend(service, tasks, look)
        if mended.groups:
            held.add(key)
        plan.add(mended)
        if mended.wake is not None:
            table.wakes[key] = mended.wake
    filled = [key for key, grade in table.grades.items() if grade.fill is not Fill.EMPTY]
    replicas = replicas_of(service)
    kept: Mapping[SlotKey, Grade] = table.grades
    if len(filled) > replicas:
        leaving = leaving_slots(table, filled, len(filled) - replicas)
        plan.groups.extend(_removed(table, leaving - held, look))
        kept = {key: grade for key, grade in kept.items() if key not in leaving}
        held |= leaving
    elif len(filled) < replicas:
        plan.groups.extend(_added(service, table, replicas - len(filled), look))
    if len(filled) < len(table.grades):
        plan.groups.extend(_removed(table, _leftovers(table, replicas) - held, look))
    plan.add(updates.step(service, table.slots, kept, look, held=held))
    return plan


def replicas_of(service: Service) -> int:
    """How many are wanted; 1 where nothing is said."""
    replicated = service.spec.mode.replicated
    return 1 if replicated is None or replicated.replicas is None else replicated.replicas


def leaving_slots(table: SlotTable, filled: Iterable[SlotKey], count: int) -> set[SlotKey]:
    """Which slots go when a service gets smaller.

    First those that have no node yet or change tasks just now, then from nodes that have most
    of the service; what does not run goes before what does, and high numbers before low ones.
    """
    wanted = {key: [t for t in table.slots[key] if is_wanted(t)] for key in filled}

    def is_running(key: SlotKey) -> bool:
        return any(task.status.state is TaskState.RUNNING for task in wanted[key])

    settled = sorted(wanted, key=lambda key: (not is_running(key), key))
    rank: dict[SlotKey, tuple[float, bool, int]] = {}
    seen: Counter[str] = Counter()
    for key in settled:
        tasks, number = wanted[key], key if isinstance(key, int) else 0
        if len(tasks) == 1 and tasks[0].node_id:
            seen[tasks[0].node_id] += 1
            rank[key] = (seen[tasks[0].node_id], not is_running(key), number)
        else:
            rank[key] = (float("inf"), True, number)
    return set(sorted(rank, key=lambda key: rank[key], reverse=True)[:count])


def _added(service: Service, table: SlotTable, count: int, look: Look) -> list[Group]:
    """New tasks in the lowest numbers that are free."""
    groups: list[Group] = []
    number = 0
    while len(groups) < min(count, MAX_NEW):
        number += 1
        grade = table.grades.get(number)
        if grade is None or grade.fill is Fill.EMPTY:
            groups.append((Put(look.make(service, slot=number)),))
    return groups


def _removed(table: SlotTable, keys: Iterable[SlotKey], look: Look) -> list[Group]:
    """Ask for the removal of all that is in some slots."""
    return [
        (look.ask(task, TaskState.REMOVE),)
        for key in keys
        for task in table.slots.get(key, ())
        if _is_removable(task)
    ]


def _leftovers(table: SlotTable, replicas: int) -> set[SlotKey]:
    """Slots past the last one that hold only what has ended: nobody will fill them."""
    return {
        key
        for key, grade in table.grades.items()
        if grade.fill is Fill.EMPTY and isinstance(key, int) and key > replicas
    }


def _is_removable(task: Task) -> bool:
    return task.desired_state < TaskState.REMOVE
