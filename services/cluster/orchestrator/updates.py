"""Rolling updates and rollbacks, one step at a time.

How far an update has come is read from the slots' grades and the service's update status, so that a
new leader goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.cluster.model.objects import Service, Task, UpdateStatus
from services.cluster.model.snapshot import Put
from services.cluster.model.specs import UpdateConfig
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.grades import UNDER_WAY, Grade, monitor_of
from services.cluster.orchestrator.look import Group, Look, Plan
from services.cluster.orchestrator.restart import span
from services.cluster.orchestrator.slots import SlotKey
from services.cluster.orchestrator.tasks import is_outdated, is_wanted

_PAUSED: Final = frozenset({"paused", "rollback_paused"})
_DEFAULT: Final = UpdateConfig(parallelism=1)


def step(
    service: Service,
    slots: Mapping[SlotKey, Sequence[Task]],
    grades: Mapping[SlotKey, Grade],
    look: Look,
    *,
    held: Container[SlotKey] = (),
) -> Plan:
    """What comes next in the update of a service, if one is under way or due.

    `slots` and `grades` are those that the service keeps. Those in `held` have something else to
    be done to them first.
    """
    status = service.update_status
    state = status.state if status else ""
    if state in _PAUSED:
        return Plan()
    dirty = [key for key, grade in grades.items() if grade.is_dirty]
    if state not in UNDER_WAY:
        return _begin(service, look) if dirty else Plan()
    updated = {key: grade for key, grade in grades.items() if grade.is_updated}
    failures = [id for grade in updated.values() for id in grade.failures]
    total = len(set(dirty) | updated.keys())
    config = config_of(service)
    if failures and len(failures) / max(total, 1) > config.max_failure_ratio:
        action = config.failure_action or "pause"
        if action != "continue":
            return _give_up(service, action, failures[0], look)
    if not dirty:
        return _end(service, updated.values(), look)
    return _Steps(service, config, look).go_on(dirty, updated, slots, held)


def config_of(service: Service) -> UpdateConfig:
    """What an update or rollback under way goes by."""
    status = service.update_status
    if status is not None and status.state == "rollback_started":
        return service.spec.rollback_config or _DEFAULT
    return service.spec.update_config or _DEFAULT


def _begin(service: Service, look: Look) -> Plan:
    """Say that an update is under way; its first step comes with the next look."""
    begun = UpdateStatus(state="updating", started_at=look.now, message="update in progress")
    return Plan(groups=[(_with_status(service, begun, look),)])


def _end(service: Service, updated: Iterable[Grade], look: Look) -> Plan:
    """Every slot is of the new spec: wait until each has run for the monitored time."""
    times = [grade.settled_at for grade in updated]
    settled = [at for at in times if at is not None]
    if len(settled) < len(times):
        return Plan()  # a task's next state wakes us
    good_at = max(settled) + monitor_of(service) if settled else look.now
    if look.now < good_at:
        return Plan(wake=good_at)
    word = "rollback" if _is_rollback(service) else "update"
    ended = replace(
        service.update_status or UpdateStatus(),
        state="rollback_completed" if word == "rollback" else "completed",
        completed_at=look.now,
        message=f"{word} completed",
    )
    return Plan(
        groups=[(_with_status(service, ended, look),)],
        notes=[f"{word} of service {service.spec.name} completed"],
    )


def _give_up(service: Service, action: str, task_id: str, look: Look) -> Plan:
    """Too many failed. A rollback is never rolled back, nor what has no former spec."""
    status = service.update_status or UpdateStatus()
    because = f"due to failure or early termination of task {task_id}"
    if action == "rollback" and not _is_rollback(service) and service.previous_spec is not None:
        message = f"update rolled back {because}"
        after = replace(
            service,
            spec=service.previous_spec,
            # A number of its own: tasks that are made by the rollback are told from the others.
            spec_version=service.spec_version + 1,
            previous_spec=None,
            previous_spec_version=0,
            update_status=replace(status, state="rollback_started", message=message),
            updated_at=look.now,
        )
        return Plan(groups=[(Put(after),)], notes=[f"service {service.spec.name}: {message}"])
    is_rollback = _is_rollback(service)
    message = f"{'rollback' if is_rollback else 'update'} paused {because}"
    paused = replace(status, state="rollback_paused" if is_rollback else "paused", message=message)
    return Plan(
        groups=[(_with_status(service, paused, look),)],
        notes=[f"service {service.spec.name}: {message}"],
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """The replacing itself, of one service at one moment."""

    service: Service
    config: UpdateConfig
    look: Look

    def go_on(
        self,
        dirty: Sequence[SlotKey],
        updated: Mapping[SlotKey, Grade],
        slots: Mapping[SlotKey, Sequence[Task]],
        held: Container[SlotKey],
    ) -> Plan:
        """Begin as many slots as may be replaced at once, and end those that are replaced."""
        plan = Plan()
        may_begin = self._room(updated.values(), plan) if self.config.parallelism else len(dirty)
        for key in sorted(dirty, key=_order):
            if key in held:
                continue
            fresh = [task for task in slots[key] if self._is_fresh(task)]
            if fresh:
                plan.groups.extend(self._ended(slots[key], fresh))
            elif may_begin > 0:
                plan.groups.append(self._begun(key, slots[key]))
                may_begin -= 1
        return plan

    def _room(self, updated: Iterable[Grade], plan: Plan) -> int:
        """How many slots may be begun: one that has settled is done with after the delay."""
        busy = 0
        for grade in updated:
            free_at = grade.settled_at and grade.settled_at + span(self.config.delay)
            if free_at is None or self.look.now < free_at:
                busy += 1
                plan.wake_at(free_at)
        return self.config.parallelism - busy

    def _is_fresh(self, task: Task) -> bool:
        node = self.look.snapshot.nodes.get(task.node_id)
        return is_wanted(task) and not is_outdated(self.service, task, node)

    def _ended(self, tasks: Sequence[Task], fresh: Sequence[Task]) -> Sequence[Group]:
        """What goes of a slot that has a task of the new spec: the others, once that one runs.

        With stop-first they go at once: it may be there because the order was another before.
        """
        stays = max(fresh, key=_progress)
        if self.config.order == "start-first" and stays.status.state is not TaskState.RUNNING:
            return []
        others = [task for task in tasks if is_wanted(task) and task.id != stays.id]
        asks = tuple(self.look.ask(task, TaskState.SHUTDOWN) for task in others)
        return [asks] if asks else []

    def _begun(self, key: SlotKey, tasks: Sequence[Task]) -> Group:
        """A task of the new spec for a slot; with stop-first, the end of those in it. With
        start-first one of them stays meanwhile: what an update before has begun is let go."""
        wanted = [task for task in tasks if is_wanted(task)]
        is_start_first = self.config.order == "start-first" and bool(wanted)
        successor = self.look.make(
            self.service,
            slot=key if isinstance(key, int) else 0,
            node_id=key if isinstance(key, str) else "",
            desired=TaskState.RUNNING if is_start_first else TaskState.READY,
        )
        stays = max(wanted, key=_progress).id if is_start_first else ""
        ends = (self.look.ask(t, TaskState.SHUTDOWN) for t in wanted if t.id != stays)
        return (*ends, Put(successor))


def _order(key: SlotKey) -> tuple[int, str]:
    """Slots by number, nodes by id."""
    return (key, "") if isinstance(key, int) else (0, key)


def _progress(task: Task) -> tuple[bool, TaskState, datetime, str]:
    """What has ended comes last, then how far one is, then the younger."""
    return not task.status.state.is_ended, task.status.state, task.created_at, task.id


def _is_rollback(service: Service) -> bool:
    status = service.update_status
    return status is not None and status.state == "rollback_started"


def _with_status(service: Service, status: UpdateStatus, look: Look) -> Put:
    return Put(replace(service, update_status=status, updated_at=look.now))
