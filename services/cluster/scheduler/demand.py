"""What a task asks of a node, worked out once for all tasks of the same spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.cluster.model.objects import Task
from services.cluster.model.task_spec import Platform, Resources, TaskSpec
from services.cluster.scheduler.generic import amounts

GroupKey = tuple[str, int]  # a service and the version of its spec
HostPort = tuple[str, int]  # protocol and published port

_NOTHING = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """`generic`: how many of each kind. `preferences` are the labels to spread over, in order.

    `log_driver` is "" for what every node has.
    """

    group: GroupKey
    nano_cpus: int
    memory_bytes: int
    generic: Mapping[str, int]
    constraints: tuple[str, ...]
    platforms: tuple[Platform, ...]
    preferences: tuple[str, ...]
    max_replicas: int  # on a node; 0 is unlimited
    host_ports: tuple[HostPort, ...]
    volume_drivers: tuple[str, ...]
    log_driver: str

    @property
    def asks_resources(self) -> bool:
        """Whether anything has to be set aside."""
        return bool(self.nano_cpus or self.memory_bytes or self.generic)


def demand_of(task: Task) -> Demand:
    """A task's demand."""
    spec = task.spec
    reserved = (spec.resources.reservations if spec.resources else None) or _NOTHING
    placement = spec.placement
    mounts = spec.container_spec.mounts if spec.container_spec else []
    drivers = {m.volume_options.driver_config.name for m in mounts
               if m.volume_options and m.volume_options.driver_config}  # fmt: skip
    preferences = placement.preferences if placement else []
    return Demand(
        group=(task.service_id or task.id, task.spec_version),
        nano_cpus=reserved.nano_cpus,
        memory_bytes=reserved.memory_bytes,
        generic=amounts(reserved.generic_resources),
        constraints=tuple(placement.constraints) if placement else (),
        platforms=tuple(placement.platforms) if placement else (),
        preferences=tuple(one.spread.spread_descriptor for one in preferences if one.spread),
        max_replicas=placement.max_replicas if placement else 0,
        host_ports=host_ports(task),
        volume_drivers=tuple(sorted(drivers - {"", "local"})),
        log_driver=_log_driver(spec),
    )


def _log_driver(spec: TaskSpec) -> str:
    name = spec.log_driver.name if spec.log_driver else ""
    return "" if name == "none" else name


def host_ports(task: Task) -> tuple[HostPort, ...]:
    """The ports of its node that a task takes."""
    ports = task.endpoint.ports if task.endpoint else []
    return tuple(
        (port.protocol, port.published_port)
        for port in ports
        if port.publish_mode == "host" and port.published_port
    )
