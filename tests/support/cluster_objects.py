"""Objects of a cluster, made with few words."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Final

from services.cluster.ca.authority import Authority
from services.cluster.ca.issuing import new_root_ca
from services.cluster.model.objects import (
    Cluster,
    ClusterNetwork,
    Config,
    Endpoint,
    NetworkAttachment,
    Node,
    NodeState,
    NodeStatus,
    Secret,
    Service,
    Task,
    TaskStatus,
    VirtualIp,
    VxlanNetwork,
)
from services.cluster.model.specs import (
    ConfigSpec,
    NetworkSpec,
    NodeSpec,
    PortConfig,
    SecretSpec,
    ServiceSpec,
)
from services.cluster.model.task_spec import (
    ConfigReference,
    ContainerSpec,
    NetworkAttachmentConfig,
    SecretReference,
    TaskSpec,
)
from services.cluster.model.task_state import TaskState

NOW: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)


def a_cluster(id: str = "cluster1", authority: Authority | None = None) -> Cluster:
    """One with an authority."""
    root = new_root_ca(authority or Authority.new(datetime.now(UTC)))
    return Cluster(id=id, created_at=NOW, updated_at=NOW, root_ca=root)


def a_node(
    id: str, *, role: str = "worker", state: NodeState = NodeState.READY, addr: str = ""
) -> Node:
    """One that has joined."""
    return Node(
        id=id,
        created_at=NOW,
        updated_at=NOW,
        spec=NodeSpec(role=role),
        role=role,
        status=NodeStatus(state=state),
        data_path_addr=addr or f"192.0.2.{sum(id.encode()) % 250 + 1}",
    )


def a_task(
    id: str,
    *,
    node: str = "",
    service: str = "",
    state: TaskState = TaskState.ASSIGNED,
    desired: TaskState = TaskState.RUNNING,
    networks: dict[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    configs: tuple[str, ...] = (),
) -> Task:
    """`networks`: by network, the task's address with its prefix length."""
    spec = ContainerSpec(
        image="busybox",
        secrets=[SecretReference(secret_id=secret) for secret in secrets],
        configs=[ConfigReference(config_id=config) for config in configs],
    )
    places = [
        NetworkAttachment(network_id=network, addresses=[address])
        for network, address in (networks or {}).items()
    ]
    return Task(
        id=id,
        created_at=NOW,
        updated_at=NOW,
        service_id=service,
        service_name=f"name-of-{service}" if service else "",
        slot=1,
        node_id=node,
        spec=TaskSpec(container_spec=spec),
        status=TaskStatus(state=state, timestamp=NOW),
        desired_state=desired,
        networks=places,
    )


def a_service(
    id: str, *, vips: dict[str, str] | None = None, networks: tuple[str, ...] = (), port: int = 0
) -> Service:
    """`vips`: by network, the service's address with its prefix length."""
    ports = [PortConfig(target_port=80, published_port=port)] if port else []
    return Service(
        id=id,
        created_at=NOW,
        updated_at=NOW,
        spec=ServiceSpec(
            name=f"name-of-{id}",
            networks=[NetworkAttachmentConfig(target=n, aliases=[f"also-{id}"]) for n in networks],
        ),
        endpoint=Endpoint(
            virtual_ips=[VirtualIp(network_id=n, addr=a) for n, a in (vips or {}).items()],
            ports=ports,
        ),
    )


def a_network(
    id: str,
    *,
    ingress: bool = False,
    balancers: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> ClusterNetwork:
    """`balancers`: by node, its own address with its prefix length."""
    return ClusterNetwork(
        id=id,
        created_at=NOW,
        updated_at=NOW,
        spec=NetworkSpec(name=f"name-of-{id}", ingress=ingress, options=options or {}),
        subnets=[VxlanNetwork(subnet="10.0.1.0/24", gateway="10.0.1.1", vxlan_id=4097)],
        balancer_addrs=balancers or {},
    )


def a_secret(id: str, data: str = "hush") -> Secret:
    """With its data in base64."""
    spec = SecretSpec(name=f"name-of-{id}", data=base64.b64encode(data.encode()).decode())
    return Secret(id=id, created_at=NOW, updated_at=NOW, spec=spec)


def a_config(id: str) -> Config:
    """With data."""
    return Config(
        id=id, created_at=NOW, updated_at=NOW, spec=ConfigSpec(name=f"name-of-{id}", data="eA==")
    )
