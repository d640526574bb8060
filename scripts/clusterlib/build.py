"""Services, said shortly."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from clusterlib.world import BEGINNING
from services.cluster.model.objects import JobStatus, Service
from services.cluster.model.specs import (
    Empty,
    EndpointSpec,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from services.cluster.model.task_spec import (
    ContainerSpec,
    NetworkAttachmentConfig,
    Placement,
    ResourceRequirements,
    TaskRestartPolicy,
    TaskSpec,
)

SECOND = 1_000_000_000


def template(
    image: str = "app:1",
    *,
    restart: TaskRestartPolicy | None = None,
    placement: Placement | None = None,
    resources: ResourceRequirements | None = None,
    networks: list[str] | None = None,
) -> TaskSpec:
    """A task's spec."""
    return TaskSpec(
        container_spec=ContainerSpec(image=image),
        restart_policy=restart,
        placement=placement,
        resources=resources,
        networks=[NetworkAttachmentConfig(target=one) for one in networks or []],
    )


def service(
    id: str = "web",
    replicas: int | None = 1,
    *,
    mode: ServiceMode | None = None,
    spec: TaskSpec | None = None,
    update: UpdateConfig | None = None,
    rollback: UpdateConfig | None = None,
    endpoint: EndpointSpec | None = None,
    at: datetime = BEGINNING,
) -> Service:
    """A replicated service, or one of another mode."""
    return Service(
        id=id,
        created_at=at,
        updated_at=at,
        spec=ServiceSpec(
            name=id,
            mode=mode or ServiceMode(replicated=Replicated(replicas=replicas)),
            task_template=spec or template(),
            update_config=update,
            rollback_config=rollback,
            endpoint_spec=endpoint,
        ),
        job_status=JobStatus() if mode and (mode.replicated_job or mode.global_job) else None,
    )


GLOBAL = ServiceMode(global_=Empty())
GLOBAL_JOB = ServiceMode(global_job=Empty())


def job(concurrent: int | None = None, total: int | None = None) -> ServiceMode:
    """A replicated job's mode."""
    return ServiceMode(
        replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=total)
    )


def updated(before: Service, spec: ServiceSpec) -> Service:
    """What the control operation for an update writes."""
    is_job = before.job_status is not None
    return replace(
        before,
        spec=spec,
        spec_version=before.spec_version + 1,
        previous_spec=before.spec,
        previous_spec_version=before.spec_version,
        update_status=None,
        job_status=JobStatus(iteration=before.job_status.iteration + 1)  # type: ignore[union-attr]
        if is_job
        else None,
    )


def with_image(before: Service, image: str) -> Service:
    """An update to another image."""
    task = replace(before.spec.task_template, container_spec=ContainerSpec(image=image))
    return updated(before, replace(before.spec, task_template=task))


def scaled(before: Service, replicas: int) -> Service:
    """An update to another number of replicas."""
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return updated(before, replace(before.spec, mode=mode))
