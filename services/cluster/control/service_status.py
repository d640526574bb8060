"""How many of a service's tasks run, and how many should. Pure.

Source: swarmkit, manager/controlapi/service.go, ListServiceStatuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.cluster.model.objects import Service, Task
from services.cluster.model.task_state import TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """Numbers of tasks; of a job, of its present iteration."""

    running: int
    desired: int
    completed: int


def status_of(service: Service, tasks: Iterable[Task]) -> ServiceStatus:
    """Count a service's tasks."""
    job = service.job_status
    if job is not None:
        tasks = [task for task in tasks if task.job_iteration == job.iteration]
    else:
        tasks = list(tasks)
    states = [task.status.state for task in tasks]
    mode = service.spec.mode
    if mode.replicated is not None:
        desired = mode.replicated.replicas or 0
    elif mode.replicated_job is not None:
        desired = mode.replicated_job.max_concurrent or 0
    else:
        desired = sum(_is_wanted(task) for task in tasks)
    return ServiceStatus(
        running=states.count(TaskState.RUNNING),
        desired=desired,
        completed=states.count(TaskState.COMPLETE) if job is not None else 0,
    )


def _is_wanted(task: Task) -> bool:
    """Of a global service or job: whether the task is still to run, or to end well."""
    is_to_complete = task.desired_state is TaskState.COMPLETE
    return task.desired_state is TaskState.RUNNING or (
        is_to_complete and task.status.state is not TaskState.COMPLETE
    )
