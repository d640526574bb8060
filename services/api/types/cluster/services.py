"""Services on the wire.

Source: Engine API, schemas Service, ServiceSpec, TaskSpec; moby, daemon/cluster/convert, which puts
words in place of what a spec leaves open.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.wire import meta_to_wire, time_to_wire, to_wire
from services.cluster.control.services import SeenService
from services.cluster.model.objects import Endpoint, Service, UpdateStatus
from services.cluster.model.specs import EndpointSpec, ServiceSpec, UpdateConfig
from services.cluster.model.task_spec import TaskSpec


def service_to_wire(seen: SeenService) -> dict[str, Any]:
    """One service."""
    service = seen.service
    wire = {
        **meta_to_wire(service),
        "Spec": spec_to_wire(service.spec),
        "Endpoint": endpoint_to_wire(service.endpoint),
    }
    if service.previous_spec is not None:
        wire["PreviousSpec"] = spec_to_wire(service.previous_spec)
    if service.update_status is not None:
        wire["UpdateStatus"] = _update_status(service.update_status)
    if seen.status is not None:
        wire["ServiceStatus"] = {
            "RunningTasks": seen.status.running,
            "DesiredTasks": seen.status.desired,
            "CompletedTasks": seen.status.completed,
        }
    return wire | _job_status(service)


def spec_to_wire(spec: ServiceSpec) -> dict[str, Any]:
    """A service's spec."""
    wire: dict[str, Any] = to_wire(spec)
    wire["TaskTemplate"] = task_spec_to_wire(spec.task_template)
    for name, config in (
        ("UpdateConfig", spec.update_config),
        ("RollbackConfig", spec.rollback_config),
    ):
        if config is not None:
            wire[name] = _update_config(config)
    if spec.endpoint_spec is not None:
        wire["EndpointSpec"] = endpoint_spec_to_wire(spec.endpoint_spec)
    return wire


def task_spec_to_wire(spec: TaskSpec) -> dict[str, Any]:
    """A template for tasks."""
    wire: dict[str, Any] = to_wire(spec)
    wire["Runtime"] = spec.runtime or "container"
    if spec.restart_policy is not None:
        wire["RestartPolicy"] = {
            "Condition": "any",
            "MaxAttempts": 0,
            **wire["RestartPolicy"],
        }
    return wire


def endpoint_to_wire(endpoint: Endpoint | None) -> dict[str, Any]:
    """What a service was given."""
    if endpoint is None:
        return {"Spec": {}}
    wire: dict[str, Any] = to_wire(endpoint)
    wire["Spec"] = {} if endpoint.spec is None else endpoint_spec_to_wire(endpoint.spec)
    return wire


def endpoint_spec_to_wire(spec: EndpointSpec) -> dict[str, Any]:
    """What a service asked for."""
    return {**to_wire(spec), "Mode": spec.mode or "vip"}


def _update_config(config: UpdateConfig) -> dict[str, Any]:
    return {
        **to_wire(config),
        "FailureAction": config.failure_action or "pause",
        "Order": config.order or "stop-first",
    }


def _update_status(status: UpdateStatus) -> dict[str, Any]:
    wire: dict[str, Any] = to_wire(status)
    return wire


def _job_status(service: Service) -> dict[str, Any]:
    job = service.job_status
    if job is None:
        return {}
    return {
        "JobStatus": {
            "JobIteration": {"Index": job.iteration},
            "LastExecution": time_to_wire(job.last_execution),
        }
    }
