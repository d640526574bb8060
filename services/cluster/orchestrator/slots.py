"""A service's tasks by slot, kept from one look to the next.

The key of a slot is its number, or the node of a global service's task.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.cluster.model.objects import Service, Task
from services.cluster.orchestrator.grades import Grade
from services.cluster.orchestrator.tasks import mode_of

SlotKey = int | str


def slot_key(service: Service, task: Task) -> SlotKey:
    """Where a task counts. A node's task has no number, also where a mode has changed since."""
    return task.node_id if mode_of(service).is_by_node else task.slot


@dataclass(slots=True)
class SlotTable:
    """One service's. `changed` is what has to be looked at; `grades` holds for all others.

    A slot stays in `changed` until a look at it asks for nothing, so that a write that was
    refused is asked for again.
    """

    slots: dict[SlotKey, tuple[Task, ...]] = field(default_factory=dict)
    grades: dict[SlotKey, Grade] = field(default_factory=dict)
    changed: set[SlotKey] = field(default_factory=set)
    wakes: dict[SlotKey, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, service: Service, tasks: Iterable[Task]) -> SlotTable:
        """All of a service's tasks, none of them looked at."""
        gathered: dict[SlotKey, list[Task]] = {}
        for task in tasks:
            gathered.setdefault(slot_key(service, task), []).append(task)
        return cls(slots={key: tuple(tasks) for key, tasks in gathered.items()})

    def put(self, key: SlotKey, task: Task) -> None:
        """A task is new or has changed."""
        present = self.slots.get(key, ())
        if len(present) == 1 and present[0].id == task.id:
            self.slots[key] = (task,)
        else:
            self.slots[key] = (*(one for one in present if one.id != task.id), task)
        self.changed.add(key)

    def discard(self, key: SlotKey, task_id: str) -> None:
        """A task is no longer there."""
        left = tuple(one for one in self.slots.get(key, ()) if one.id != task_id)
        if left:
            self.slots[key] = left
        else:
            self.slots.pop(key, None)
            self.grades.pop(key, None)
        self.changed.add(key)
