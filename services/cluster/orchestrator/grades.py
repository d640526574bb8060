"""What a slot is worth to its service: whether it is filled, and how far an update of it has come.

A grade depends on the slot's tasks, its service and their nodes' labels; the time plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from services.cluster.model.objects import Service, Task
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.restart import may_restart, span
from services.cluster.orchestrator.tasks import is_outdated, is_wanted

UNDER_WAY: Final = frozenset({"updating", "rollback_started"})
_EARLY_ENDS: Final = frozenset({TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED})
_MONITOR: Final = timedelta(seconds=5)


class Fill(Enum):
    """Whether a slot counts."""

    LIVE = auto()  # a task is wanted in it
    SETTLED = auto()  # its last task has ended, and the restart policy wants no other
    EMPTY = auto()  # only what is left of former tasks


@dataclass(frozen=True, slots=True)
class Grade:
    """`is_dirty`: an update has something to do in it.

    The rest is looked at while an update is under way. `is_updated`: a task of the present spec is
    or was in it, and `settled_at` is when the first such ran or ended. `failures`: tasks of the
    present spec that ended within the time in which they are monitored.
    """

    fill: Fill
    is_dirty: bool = False
    is_updated: bool = False
    settled_at: datetime | None = None
    failures: tuple[str, ...] = ()


_LIVE: Final = Grade(Fill.LIVE)
_SETTLED: Final = Grade(Fill.SETTLED)
_EMPTY: Final = Grade(Fill.EMPTY)


def grade(service: Service, tasks: Sequence[Task], snapshot: Snapshot) -> Grade:
    """One slot's grade."""
    status = service.update_status
    state = status.state if status else ""
    wanted = [task for task in tasks if is_wanted(task)]
    if wanted:
        plain, relevant = _LIVE, wanted
    else:
        last = latest(tasks)
        # A rollback starts what had ended, so that the service is as it was before.
        if last is None or state == "rollback_started" or may_restart(last):
            return _EMPTY
        plain, relevant = _SETTLED, [last]
    is_dirty = len(relevant) > 1 or is_outdated(
        service, relevant[0], snapshot.nodes.get(relevant[0].node_id)
    )
    if state not in UNDER_WAY:
        return Grade(plain.fill, is_dirty=True) if is_dirty else plain
    return _under_way(service, tasks, plain.fill, is_dirty)


def latest(tasks: Sequence[Task]) -> Task | None:
    """The youngest task of a slot that was not scaled away."""
    kept = [task for task in tasks if task.desired_state is not TaskState.REMOVE]
    return max(kept, key=lambda task: (task.created_at, task.id)) if kept else None


def monitor_of(service: Service) -> timedelta:
    """How long a new task is watched before it counts as good."""
    status = service.update_status
    is_rollback = status is not None and status.state == "rollback_started"
    config = service.spec.rollback_config if is_rollback else service.spec.update_config
    return _MONITOR if config is None or config.monitor is None else span(config.monitor)


def _under_way(service: Service, tasks: Sequence[Task], fill: Fill, is_dirty: bool) -> Grade:
    updated = [task for task in tasks if task.spec_version == service.spec_version]
    times = [at for at in map(_settled_at, updated) if at is not None]
    monitor = monitor_of(service)
    return Grade(
        fill,
        is_dirty=is_dirty,
        is_updated=bool(updated),
        settled_at=min(times) if times else None,
        failures=tuple(task.id for task in updated if _failed(task, monitor)),
    )


def _settled_at(task: Task) -> datetime | None:
    """When it was known how a task begins; None before. What failed is kept while we count it."""
    if task.status.running_at is not None:
        return task.status.running_at
    if task.status.state >= TaskState.RUNNING:
        return task.status.timestamp or task.updated_at
    return None


def _failed(task: Task, monitor: timedelta) -> bool:
    status = task.status
    if status.state not in _EARLY_ENDS:
        return False
    if status.running_at is None or status.timestamp is None:
        return True
    return status.timestamp - status.running_at <= monitor
