"""Jobs: tasks that are to end well, a number of them or one on each node.

Each update of a job is a new iteration, which begins from nothing; what is left of former ones is
removed. A slot whose restarts are used up stays failed until then.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.cluster.model.objects import Service, Task
from services.cluster.model.snapshot import Put
from services.cluster.model.specs import ReplicatedJob
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.by_node import fits
from services.cluster.orchestrator.look import Look, Plan
from services.cluster.orchestrator.mending import mend
from services.cluster.orchestrator.slots import SlotKey, SlotTable
from services.cluster.orchestrator.standing import Standing
from services.cluster.orchestrator.tasks import Mode, is_wanted, iteration_of, mode_of


def decide(service: Service, table: SlotTable, look: Look) -> Plan:
    """Restart what failed, end former iterations, and begin what may be begun."""
    plan = Plan()
    for key in table.changed:
        tasks = _present(service, table, key)
        mended = mend(service, tasks, look)
        plan.add(mended)
        if mended.wake is not None:
            table.wakes[key] = mended.wake
        plan.groups.extend(
            (look.ask(task, TaskState.REMOVE),)
            for task in table.slots.get(key, ())
            if task.job_iteration != iteration_of(service) and task.desired_state < TaskState.REMOVE
        )
    if mode_of(service) is Mode.GLOBAL_JOB:
        _begin_on_nodes(service, table, look, plan)
    else:
        _begin_slots(service, table, look, plan)
    return plan


def sizes(job: ReplicatedJob | None) -> tuple[int, int]:
    """How many run at once at most, and how many have to end well."""
    concurrent = job.max_concurrent if job and job.max_concurrent is not None else 1
    total = job.total_completions if job and job.total_completions is not None else concurrent
    return concurrent, total


def _present(service: Service, table: SlotTable, key: SlotKey) -> Sequence[Task]:
    iteration = iteration_of(service)
    return [task for task in table.slots.get(key, ()) if task.job_iteration == iteration]


def _was_taken_away(task: Task) -> bool:
    """Whether it was ended for its node's sake: not by itself, well or badly. What may still run
    there is waited for: it may have come to its end meanwhile."""
    return not is_wanted(task) and task.status.state in (TaskState.SHUTDOWN, TaskState.ORPHANED)


def _begin_slots(service: Service, table: SlotTable, look: Look, plan: Plan) -> None:
    """Slots are numbered from 0, one for each completion. At most so many are open at once."""
    concurrent, total = sizes(service.spec.mode.replicated_job)
    taken = {key: tasks for key in table.slots if (tasks := _present(service, table, key))}
    is_open = sum(
        any(is_wanted(t) and t.status.state is not TaskState.COMPLETE for t in tasks)
        for tasks in taken.values()
    )
    free = (number for number in range(total) if number not in taken)
    for number, _ in zip(free, range(max(0, concurrent - is_open)), strict=False):
        task = look.make(service, slot=number, desired=TaskState.COMPLETE)
        plan.groups.append((Put(task),))


def _begin_on_nodes(service: Service, table: SlotTable, look: Look, plan: Plan) -> None:
    """One for each node that fits now; a node that joins later gets one too, and a node that was
    lost or drained before its own had ended."""
    for key in table.changed:
        node = look.snapshot.nodes.get(str(key))
        if node is None or not fits(service, node):
            continue
        if not all(map(_was_taken_away, _present(service, table, key))):
            continue
        state, until = look.standing(node.id)
        if state is Standing.GOOD:
            task = look.make(service, node_id=node.id, desired=TaskState.COMPLETE)
            plan.groups.append((Put(task),))
        elif until is not None:
            table.wakes[key] = min(until, table.wakes.get(key, until))
            plan.wake_at(until)
