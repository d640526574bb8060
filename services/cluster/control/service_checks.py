"""What a service's spec must be. Pure; every refusal is dockerd's, to the letter.

Source: swarmkit, manager/controlapi/service.go, manager/constraint; moby, daemon/cluster/convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from services.cluster.agent.expansion import expand_spec
from services.cluster.control.names import check_service_name
from services.cluster.control.refusals import invalid
from services.cluster.model.objects import NodeDescription, Task
from services.cluster.model.specs import EndpointSpec, ServiceMode, ServiceSpec, UpdateConfig
from services.cluster.model.task_spec import (
    ConfigReference,
    ContainerSpec,
    Platform,
    Resources,
    SecretReference,
    TaskRestartPolicy,
    TaskSpec,
)
from services.cluster.model.wire import utc_now
from services.cluster.scheduler.constraints import parse
from services.containers.config import HealthConfig, Mount
from services.errors import InvalidParameter, NotSupported
from services.images.reference import parse_reference

NANO_CPUS_MIN: Final = 1_000_000
MEMORY_MIN_BYTES: Final = 4 * 1024 * 1024
HEALTH_SPAN_MIN_NS: Final = 1_000_000
MOUNT_TYPES: Final = ("", "bind", "volume", "tmpfs", "npipe", "cluster", "image")
PROPAGATIONS: Final = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")


def check_service(spec: ServiceSpec) -> None:
    """A spec whose mode is filled in (`service_specs.filled`).

    Raises:
        InvalidParameter: it cannot be meant.
        NotSupported: it asks for a plugin's tasks.
    """
    _check_words(spec)
    check_service_name(spec.name)
    _check_task(spec.task_template)
    _check_mode(spec.mode)
    if spec.mode.replicated_job or spec.mode.global_job:
        if spec.update_config is not None:
            raise invalid("Jobs may not have an update config")
    else:
        _check_update(spec.update_config)
    _check_endpoint(spec.endpoint_spec)


def _check_words(spec: ServiceSpec) -> None:
    """Words of which only some are known, which dockerd finds first."""
    task = spec.task_template
    if task.runtime == "plugin" or task.plugin_spec is not None:
        raise NotSupported("tasks that are plugins are not supported")
    if task.runtime == "attachment" or task.network_attachment_spec is not None:
        raise InvalidParameter('invalid task spec: spec type "attachment" not supported')
    if task.runtime not in ("", "container"):
        raise InvalidParameter("unsupported runtime")
    if task.container_spec is None:
        raise InvalidParameter("mismatched Runtime and *Spec fields")
    for mount in task.container_spec.mounts:
        _check_mount_words(mount)
    for config in (spec.update_config, spec.rollback_config):
        _check_update_words(config)
    policy = task.restart_policy or TaskRestartPolicy()
    if policy.condition not in ("", "none", "on-failure", "any"):
        raise InvalidParameter(f'invalid RestartCondition: "{policy.condition}"')
    endpoint = spec.endpoint_spec or EndpointSpec()
    if endpoint.mode not in ("", "vip", "dnsrr"):
        raise InvalidParameter(f'invalid resolution mode: "{endpoint.mode}"')
    for port in endpoint.ports:
        if port.protocol not in ("", "tcp", "udp", "sctp"):
            raise InvalidParameter(f'invalid protocol value: "{port.protocol}"')
        if port.publish_mode not in ("", "ingress", "host"):
            raise InvalidParameter(f'invalid publish mode: "{port.publish_mode}"')


def _check_mount_words(mount: Mount) -> None:
    if mount.type not in MOUNT_TYPES:
        raise InvalidParameter(f'invalid MountType: "{mount.type}"')
    propagation = mount.bind_options.propagation if mount.bind_options else ""
    if propagation not in PROPAGATIONS:
        raise InvalidParameter(f'invalid MountPropagation: "{propagation}"')


def _check_update_words(config: UpdateConfig | None) -> None:
    if config is None:
        return
    if config.failure_action not in ("", "pause", "continue", "rollback"):
        raise InvalidParameter(f"unrecognized update failure action {config.failure_action}")
    if config.order not in ("", "stop-first", "start-first"):
        raise InvalidParameter(f"unrecognized update order {config.order}")


def _check_task(task: TaskSpec) -> None:
    if task.resources is not None:
        _check_resources(task.resources.limits)
        _check_resources(task.resources.reservations)
        swappiness = task.resources.memory_swappiness
        if swappiness is not None and swappiness not in range(-1, 101):
            raise invalid(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    _check_restart(task.restart_policy)
    check_constraints(task.placement.constraints if task.placement else ())
    container = task.container_spec
    assert container is not None  # `_check_words` has refused it otherwise
    _check_references("secret", [(_named(one), one) for one in container.secrets])
    _check_references("config", [(_named(one), one) for one in container.configs])
    _check_container(_expanded(task))


def _check_resources(resources: Resources | None) -> None:
    if resources is None:
        return
    if resources.nano_cpus and resources.nano_cpus < NANO_CPUS_MIN:
        raise invalid(f"invalid cpu value {resources.nano_cpus / 1e9:g}: Must be at least 0.001")
    if resources.memory_bytes and resources.memory_bytes < MEMORY_MIN_BYTES:
        raise invalid(f"invalid memory value {resources.memory_bytes}: Must be at least 4MiB")


def _check_restart(policy: TaskRestartPolicy | None) -> None:
    if policy is None:
        return
    if (policy.delay or 0) < 0:
        raise invalid("TaskSpec: restart-delay cannot be negative")
    if (policy.window or 0) < 0:
        raise invalid("TaskSpec: restart-window cannot be negative")


def check_constraints(constraints: Iterable[str]) -> None:
    """Whether each is "key==value" or "key!=value". Raises InvalidParameter."""
    for text in constraints:
        try:
            parse(text)
        except InvalidParameter as error:
            raise invalid(str(error)) from error


def _named(one: SecretReference | ConfigReference) -> tuple[str, str]:
    if isinstance(one, SecretReference):
        return one.secret_id, one.secret_name
    return one.config_id, one.config_name


def _check_references(
    word: str,
    references: Sequence[tuple[tuple[str, str], SecretReference | ConfigReference]],
) -> None:
    targets: dict[str, str] = {}
    for (id_, name), reference in references:
        if not id_ or not name:
            raise invalid(f"malformed {word} reference")
        if reference.file is None:
            if isinstance(reference, ConfigReference) and reference.runtime is not None:
                continue
            raise invalid(f"malformed {word} reference, no target provided")
        target = reference.file.name
        if not target:
            raise invalid(f"malformed file {word} reference, invalid target file name provided")
        if target in targets:
            raise invalid(
                f"{word} references '{targets[target]}' and '{name}' have a conflicting target: "
                f"'{target}'"
            )
        targets[target] = name


def _expanded(task: TaskSpec) -> ContainerSpec:
    """What some task's container would be. Raises InvalidParameter for templates that are none."""
    now = utc_now()
    some = Task(
        id="taskid",
        created_at=now,
        updated_at=now,
        service_id="serviceid",
        service_name="servicename",
        slot=1,
        node_id="nodeid",
        spec=task,
    )
    node = NodeDescription(
        hostname="nodeHostname", platform=Platform(os="os", architecture="architecture")
    )
    try:
        return expand_spec(some, node)
    except InvalidParameter as error:
        raise invalid(str(error)) from error


def _check_container(container: ContainerSpec) -> None:
    if not container.image:
        raise invalid("ContainerSpec: image reference must be provided")
    try:
        parse_reference(container.image)
    except InvalidParameter as error:
        raise invalid(
            f'ContainerSpec: "{container.image}" is not a valid repository/tag'
        ) from error
    targets: set[str] = set()
    for mount in container.mounts:
        if mount.target in targets:
            raise invalid(f"ContainerSpec: duplicate mount point: {mount.target}")
        targets.add(mount.target)
    _check_health(container.health_check)


def _check_health(check: HealthConfig | None) -> None:
    if check is None:
        return
    for name, span in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ):
        if span != 0 and span < HEALTH_SPAN_MIN_NS:
            raise invalid(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if check.retries < 0:
        raise invalid("ContainerSpec: Retries in HealthConfig cannot be negative")


def _check_mode(mode: ServiceMode) -> None:
    if mode.replicated is not None and (mode.replicated.replicas or 0) < 0:
        raise invalid("Number of replicas must be non-negative")
    job = mode.replicated_job
    if job is not None and (job.max_concurrent or 0) < 0:
        raise invalid("Maximum concurrent jobs must not be negative")
    if job is not None and (job.total_completions or 0) < 0:
        raise invalid("Total completed jobs must not be negative")


def _check_update(config: UpdateConfig | None) -> None:
    if config is None:
        return
    if config.delay < 0:
        raise invalid("TaskSpec: update-delay cannot be negative")
    if (config.monitor or 0) < 0:
        raise invalid("TaskSpec: update-monitor cannot be negative")
    if not 0 <= config.max_failure_ratio <= 1:
        raise invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")


def _check_endpoint(endpoint: EndpointSpec | None) -> None:
    if endpoint is None:
        return
    taken: set[tuple[int, str]] = set()
    for port in endpoint.ports:
        if endpoint.mode == "dnsrr" and port.publish_mode != "host":
            raise invalid(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
            )
        if not port.published_port:
            continue
        if (port.published_port, port.protocol) in taken:
            raise invalid("EndpointSpec: duplicate published ports provided")
        taken.add((port.published_port, port.protocol))
