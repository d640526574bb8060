"""One slot, mended: what ended is followed by another task, and what waits is let start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from services.cluster.model.objects import Service, Task
from services.cluster.model.snapshot import Put
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.look import Group, Look, Plan
from services.cluster.orchestrator.restart import STOP_PATIENCE, counted, delay_of, may_restart
from services.cluster.orchestrator.standing import Standing
from services.cluster.orchestrator.tasks import is_outdated, is_wanted, is_with_agent, mode_of


def mend(service: Service, tasks: Sequence[Task], look: Look) -> Plan:
    """What a slot needs by itself, whatever its service's number of replicas and updates."""
    plan = Plan()
    for task in tasks:
        if not is_wanted(task):
            continue
        if _has_to_go(service, task, look, plan):
            # Another try is not begun before the delay of this one is over: an image that is not
            # there would be asked for again and again.
            if task.start_after is not None and look.now < task.start_after:
                plan.wake_at(task.start_after)
            else:
                plan.groups.append(_restarted(service, task, tasks, look))
        elif not task.desired_state.is_to_run:
            _let_start(service, task, tasks, look, plan)
    return plan


def _has_to_go(service: Service, task: Task, look: Look, plan: Plan) -> bool:
    """Whether a wanted task does not run, and never will."""
    if task.status.state is TaskState.COMPLETE and task.job_iteration is not None:
        return False  # as it was to
    if not task.node_id:
        return task.status.state.is_ended
    state, until = look.standing(task.node_id)
    plan.wake_at(until)
    if task.status.state.is_ended:
        # A paused node gets nothing new: what ended there is restarted once it is active again.
        return not (mode_of(service).is_by_node and state is Standing.PAUSED)
    return not state.keeps_tasks


def _restarted(service: Service, task: Task, tasks: Sequence[Task], look: Look) -> Group:
    """The end of a task and, if the policy wants it, its successor, in one."""
    end = look.ask(task, TaskState.SHUTDOWN)
    state, _ = look.standing(task.node_id) if task.node_id else (Standing.GOOD, None)
    mode = mode_of(service)
    if mode.is_by_node and (not state.keeps_tasks or state is Standing.PAUSED):
        return (end,)  # the node gets one again when it can
    if not may_restart(task) or _has_successor(service, task, tasks, look):
        return (end,)
    successor = look.make(
        service,
        slot=task.slot,
        node_id=task.node_id if mode.is_by_node else "",
        desired=TaskState.READY,
    )
    # Leaving a drained node is no failure to wait for.
    delay = timedelta() if state is Standing.DRAINED else delay_of(task)
    if delay:
        successor = replace(successor, start_after=look.now + delay)
    return (end, Put(counted(successor, task, look.now)))


def _has_successor(service: Service, task: Task, tasks: Sequence[Task], look: Look) -> bool:
    """Whether an update has put another task beside this one already."""
    return any(
        other.id != task.id
        and is_wanted(other)
        and not other.status.state.is_ended
        and not is_outdated(service, other, look.snapshot.nodes.get(other.node_id))
        for other in tasks
    )


def _let_start(service: Service, task: Task, tasks: Sequence[Task], look: Look, plan: Plan) -> None:
    """Let a task start once its delay is over and what it replaces has stopped."""
    if task.start_after is not None and look.now < task.start_after:
        plan.wake_at(task.start_after)
        return
    patience_ends = task.created_at + STOP_PATIENCE
    if look.now < patience_ends and any(_is_stopping(other, look, plan) for other in tasks):
        plan.wake_at(patience_ends)
        return
    desired = TaskState.COMPLETE if mode_of(service).is_job else TaskState.RUNNING
    plan.groups.append((look.ask(task, desired),))


def _is_stopping(task: Task, look: Look, plan: Plan) -> bool:
    """Whether a task of the slot was asked to stop and may still run."""
    if is_wanted(task) or not is_with_agent(task):
        return False
    state, until = look.standing(task.node_id)
    plan.wake_at(until)
    return state is not Standing.LOST
