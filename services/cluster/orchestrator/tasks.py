"""Tasks as the orchestrators see them: made of a service, wanted or not, of its spec or not."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Final

from msgspec.structs import replace

from services.cluster.model.objects import Cluster, Endpoint, Node, Service, Task, TaskStatus
from services.cluster.model.task_spec import Placement, TaskSpec
from services.cluster.model.task_state import TaskState
from services.cluster.scheduler import constraints

_NOWHERE: Final = Placement()


class Mode(Enum):
    """How a service's tasks are counted."""

    REPLICATED = "replicated"
    GLOBAL = "global"
    REPLICATED_JOB = "replicated-job"
    GLOBAL_JOB = "global-job"

    @property
    def is_job(self) -> bool:
        """Whether its tasks are to come to an end."""
        return self in (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB)

    @property
    def is_by_node(self) -> bool:
        """Whether a slot is a node."""
        return self in (Mode.GLOBAL, Mode.GLOBAL_JOB)


def mode_of(service: Service) -> Mode:
    """A service's mode; one that names none is replicated."""
    mode = service.spec.mode
    if mode.global_ is not None:
        return Mode.GLOBAL
    if mode.replicated_job is not None:
        return Mode.REPLICATED_JOB
    if mode.global_job is not None:
        return Mode.GLOBAL_JOB
    return Mode.REPLICATED


def is_wanted(task: Task) -> bool:
    """Whether it is to run, now or later, and for a job's task: to its end."""
    return task.desired_state <= TaskState.COMPLETE


def is_with_agent(task: Task) -> bool:
    """Whether an agent has it, and has not said that it ended."""
    return TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def new_task(
    service: Service,
    cluster: Cluster,
    *,
    id: str,
    now: datetime,
    slot: int = 0,
    node_id: str = "",
    desired: TaskState = TaskState.RUNNING,
) -> Task:
    """A task of a service's present template, for a slot or for a node.

    The cluster's log driver goes in where the service names none.
    """
    spec = service.spec.task_template
    if spec.log_driver is None and cluster.spec.task_defaults.log_driver is not None:
        spec = replace(spec, log_driver=cluster.spec.task_defaults.log_driver)
    return Task(
        id=id,
        created_at=now,
        updated_at=now,
        service_id=service.id,
        service_name=service.spec.name,
        service_labels=service.spec.labels,
        slot=slot,
        node_id=node_id,
        spec=spec,
        spec_version=service.spec_version,
        status=TaskStatus(state=TaskState.NEW, timestamp=now, message="created"),
        desired_state=desired,
        endpoint=Endpoint(spec=service.spec.endpoint_spec),
        job_iteration=iteration_of(service) if mode_of(service).is_job else None,
    )


def iteration_of(service: Service) -> int:
    """Which run of a job is the present one."""
    return service.job_status.iteration if service.job_status else 0


def asked(task: Task, desired: TaskState, now: datetime) -> Task:
    """The task, with another desired state. It only goes forward: a bug otherwise, ValueError."""
    if desired < task.desired_state:
        raise ValueError(f"task {task.id} is asked to go back from {task.desired_state.name}")
    return replace(task, desired_state=desired, updated_at=now)


def is_outdated(service: Service, task: Task, node: Node | None) -> bool:
    """Whether an update has to replace a task.

    Not if only the number of replicas or what concerns no task has changed, nor for other
    constraints that its node meets as well.
    """
    if task.spec_version == service.spec_version:
        return False
    if task.endpoint is not None and task.endpoint.spec != service.spec.endpoint_spec:
        return True
    wanted, has = service.spec.task_template, task.spec
    if wanted.log_driver is None and has.log_driver is not None:
        has = replace(has, log_driver=None)  # it may be the cluster's
    if wanted is has or wanted == has:
        return False
    return not (
        node is not None
        and _differ_in_placement_only(wanted, has)
        and constraints.allow((wanted.placement or _NOWHERE).constraints, node)
    )


def _differ_in_placement_only(one: TaskSpec, other: TaskSpec) -> bool:
    return replace(one, placement=None) == replace(other, placement=None)
