"""Tasks and nodes for tests, with what a test cares about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from services.cluster.model.objects import (
    ClusterNetwork,
    NodeDescription,
    Task,
    TaskStatus,
    VxlanNetwork,
)
from services.cluster.model.specs import NetworkSpec
from services.cluster.model.task_spec import ContainerSpec, Platform, TaskSpec
from services.cluster.model.task_state import TaskState

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
NODE = NodeDescription(hostname="host1", platform=Platform(architecture="x86_64", os="linux"))


def task(
    *,
    task_id: str = "t1",
    container: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    state: TaskState = TaskState.ASSIGNED,
    desired: TaskState = TaskState.RUNNING,
    **changes: Any,
) -> Task:
    """A task of the service "web" on node n1."""
    container_spec = ContainerSpec(**{"image": "busybox", **(container or {})})
    values: dict[str, Any] = {
        "id": task_id,
        "created_at": AT,
        "updated_at": AT,
        "service_id": "s1",
        "service_name": "web",
        "slot": 1,
        "node_id": "n1",
        "spec": TaskSpec(container_spec=container_spec, **(spec or {})),
        "status": TaskStatus(state=state),
        "desired_state": desired,
    }
    return Task(**{**values, **changes})


def network(network_id: str, name: str, **spec: Any) -> ClusterNetwork:
    """A network of the cluster."""
    return ClusterNetwork(
        id=network_id, created_at=AT, updated_at=AT, spec=NetworkSpec(name=name, **spec)
    )


def overlay(third: int) -> ClusterNetwork:
    """A network "back" with the subnet 10.99.third.0/24."""
    subnet = VxlanNetwork(
        subnet=f"10.99.{third}.0/24", gateway=f"10.99.{third}.1", vxlan_id=4096 + third
    )
    return msgspec.structs.replace(network("net1", "back"), subnets=[subnet])
