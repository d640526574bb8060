"""Whether a task that ended is followed by another, and when that may start.

What was restarted before stands in the task itself, so that a new leader counts on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.model.objects import Task
from services.cluster.model.task_spec import TaskRestartPolicy
from services.cluster.model.task_state import TaskState

DEFAULT_DELAY: Final = timedelta(seconds=5)
STOP_PATIENCE: Final = timedelta(minutes=1)
"""How long a task waits for the one that it replaces to stop. Source: swarmkit, restart.go."""

_DEFAULT: Final = TaskRestartPolicy()


def span(nanoseconds: int) -> timedelta:
    """A duration of a spec."""
    return timedelta(microseconds=nanoseconds / 1000)


def policy_of(task: Task) -> TaskRestartPolicy:
    """A task's policy, or the default one."""
    return task.spec.restart_policy or _DEFAULT


def delay_of(task: Task) -> timedelta:
    """How long after its end the next one starts."""
    delay = policy_of(task).delay
    return DEFAULT_DELAY if delay is None else span(delay)


def may_restart(task: Task) -> bool:
    """Whether the policy lets another one follow, now that the task has ended or has to.

    A job's task that has completed is done with, whatever the condition.
    """
    policy = policy_of(task)
    is_complete = task.status.state is TaskState.COMPLETE
    if policy.condition == "none" or (is_complete and task.job_iteration is not None):
        return False
    if policy.condition == "on-failure" and is_complete:
        return False
    if not policy.max_attempts:
        return True
    if not policy.window:
        return task.restart_count < policy.max_attempts
    ended_at = task.status.timestamp or task.created_at
    begin = ended_at - span(policy.window)
    return sum(begin < at <= ended_at for at in task.restart_times) < policy.max_attempts


def counted(replacement: Task, ended: Task, now: datetime) -> Task:
    """The replacement, with the restarts that led to it. Another spec begins to count anew."""
    is_same = replacement.spec_version == ended.spec_version
    policy = policy_of(replacement)
    times: list[datetime] = []
    if policy.max_attempts and policy.window:
        begin = now - span(policy.window)
        before = [at for at in ended.restart_times if at > begin] if is_same else []
        times = [*before, now][-policy.max_attempts :]
    count = ended.restart_count if is_same else 0
    return replace(replacement, restart_count=count + 1, restart_times=times)
