"""Specs of services: what is filled in before they are stored, and what stands for silence. Pure.

Source: moby, daemon/cluster/convert/service.go; swarmkit, api/defaults/service.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from services.cluster.model.specs import (
    EndpointSpec,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from services.cluster.model.task_spec import (
    ContainerSpec,
    DnsConfig,
    NetworkAttachmentConfig,
    Placement,
    ResourceRequirements,
    Resources,
    TaskRestartPolicy,
    TaskSpec,
)
from services.errors import InvalidParameter

STOP_GRACE_NS: Final = 10 * 10**9
RESTART_DELAY_NS: Final = 5 * 10**9
MONITOR_NS: Final = 5 * 10**9


def filled(spec: ServiceSpec, name: str) -> ServiceSpec:
    """`spec` with one mode and its numbers, words in place of silence where answers have words, and
    `name` if it has none.

    Clients change a service by sending back what they were answered: that must be the same spec,
    or every task would be replaced for nothing.

    Raises:
        InvalidParameter: it has several modes.
    """
    return replace(
        spec,
        name=spec.name or name,
        mode=_mode(spec.mode),
        task_template=_template(spec.task_template),
        endpoint_spec=_endpoint(spec.endpoint_spec),
    )


def _template(template: TaskSpec) -> TaskSpec:
    policy = template.restart_policy
    if policy is not None:
        policy = replace(
            policy, condition=policy.condition or "any", max_attempts=policy.max_attempts or 0
        )
    runtime = "" if template.runtime == "container" else template.runtime
    return replace(template, restart_policy=policy, runtime=runtime)


def _mode(mode: ServiceMode) -> ServiceMode:
    given = [mode.global_, mode.replicated, mode.replicated_job, mode.global_job]
    if sum(one is not None for one in given) > 1:
        raise InvalidParameter("must specify only one service mode")
    if mode.global_ is not None or mode.global_job is not None:
        return mode
    if mode.replicated_job is not None:
        job = mode.replicated_job
        concurrent = 1 if job.max_concurrent is None else job.max_concurrent
        total = concurrent if job.total_completions is None else job.total_completions
        return ServiceMode(
            replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=total)
        )
    replicas = None if mode.replicated is None else mode.replicated.replicas
    return ServiceMode(replicated=Replicated(replicas=1 if replicas is None else replicas))


def _endpoint(endpoint: EndpointSpec | None) -> EndpointSpec | None:
    if endpoint is None:
        return None
    ports = [
        replace(port, protocol=port.protocol or "tcp", publish_mode=port.publish_mode or "ingress")
        for port in endpoint.ports
    ]
    return replace(endpoint, mode=endpoint.mode or "vip", ports=ports)


def mode_of(mode: ServiceMode) -> str:
    """The word that filters know it by."""
    if mode.global_ is not None:
        return "global"
    if mode.replicated_job is not None:
        return "replicated-job"
    return "global-job" if mode.global_job is not None else "replicated"


def networks_of(spec: ServiceSpec) -> list[NetworkAttachmentConfig]:
    """The networks of its tasks, also where a client of old writes them."""
    return spec.task_template.networks or spec.networks


def with_network_ids(spec: ServiceSpec, ids: Mapping[str, str]) -> ServiceSpec:
    """`spec` with ids in place of what its client has called its networks."""

    def resolved(networks: list[NetworkAttachmentConfig]) -> list[NetworkAttachmentConfig]:
        return [replace(one, target=ids.get(one.target, one.target)) for one in networks]

    template = replace(spec.task_template, networks=resolved(spec.task_template.networks))
    return replace(spec, task_template=template, networks=resolved(spec.networks))


def with_container(spec: ServiceSpec, container: ContainerSpec) -> ServiceSpec:
    """`spec` with another container in its template."""
    return replace(spec, task_template=replace(spec.task_template, container_spec=container))


def with_defaults(spec: ServiceSpec) -> ServiceSpec:
    """`spec` with what is done where it says nothing (`insertDefaults`)."""
    task = spec.task_template
    container = task.container_spec
    if container is not None:
        grace = container.stop_grace_period
        container = replace(
            container,
            stop_grace_period=STOP_GRACE_NS if grace is None else grace,
            dns_config=container.dns_config or DnsConfig(),
        )
    resources = task.resources or ResourceRequirements()
    policy = task.restart_policy or TaskRestartPolicy(condition="any")
    task = replace(
        task,
        container_spec=container,
        resources=replace(
            resources,
            limits=resources.limits or Resources(),
            reservations=resources.reservations or Resources(),
        ),
        restart_policy=replace(
            policy, delay=RESTART_DELAY_NS if policy.delay is None else policy.delay
        ),
        placement=task.placement or Placement(),
    )
    return replace(
        spec,
        task_template=task,
        update_config=_update(spec.update_config),
        rollback_config=_update(spec.rollback_config),
    )


def _update(config: UpdateConfig | None) -> UpdateConfig:
    if config is None:
        config = UpdateConfig(parallelism=1)
    return replace(
        config,
        failure_action=config.failure_action or "pause",
        order=config.order or "stop-first",
        monitor=MONITOR_NS if config.monitor is None else config.monitor,
    )
