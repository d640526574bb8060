"""Objects of a cluster for tests: valid, and as small as may be."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from services.cluster.ca.authority import Authority
from services.cluster.ca.issuing import new_root_ca
from services.cluster.model.objects import (
    Cluster,
    ClusterNetwork,
    Config,
    EngineDescription,
    ManagerMember,
    Node,
    NodeDescription,
    NodeState,
    NodeStatus,
    Secret,
    Service,
    Stored,
    Task,
    TaskStatus,
    VxlanNetwork,
)
from services.cluster.model.specs import (
    ConfigSpec,
    NetworkSpec,
    NodeSpec,
    Replicated,
    SecretSpec,
    ServiceMode,
    ServiceSpec,
)
from services.cluster.model.task_spec import (
    ConfigReference,
    ContainerSpec,
    FileTarget,
    Platform,
    Resources,
    SecretReference,
    TaskSpec,
)
from services.cluster.model.task_state import TaskState
from tests.support.memory_store import MemoryStore

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
AT: dict[str, Any] = {"created_at": EPOCH, "updated_at": EPOCH}


@lru_cache(maxsize=1)
def new_cluster() -> Cluster:
    """A cluster with a root of its own; keys cost time, and one serves all tests."""
    return Cluster(id="c" * 25, **AT, version=1, root_ca=new_root_ca(Authority.new(EPOCH)))


def store_of(*objects: Stored) -> MemoryStore:
    """A store with these, and with that cluster."""
    return MemoryStore([new_cluster(), *objects])


def id_of(name: str) -> str:
    """25 characters that begin with `name`."""
    return name.ljust(25, "0")


def node(name: str, *, manager: bool = False, state: NodeState = NodeState.READY) -> Node:
    """A node called `name`."""
    role = "manager" if manager else "worker"
    return Node(
        id=id_of(name),
        **AT,
        spec=NodeSpec(role=role),
        role=role,
        description=NodeDescription(
            hostname=name,
            platform=Platform(architecture="x86_64", os="linux"),
            resources=Resources(nano_cpus=2_000_000_000, memory_bytes=2**31),
            engine=EngineDescription(
                engine_version="1.0", labels={"disk": "ssd"}, plugins=[("Network", "bridge")]
            ),
        ),
        status=NodeStatus(state=state, addr="10.0.0.1"),
        manager=ManagerMember(addr="10.0.0.1:2377", member_id="a1") if manager else None,
    )


def container_spec(image: str = "busybox:latest", **fields: Any) -> ContainerSpec:
    """A container."""
    return ContainerSpec(image=image, **fields)


def service_spec(name: str = "web", **fields: Any) -> ServiceSpec:
    """A replicated service; `container` goes into its template."""
    container = fields.pop("container", None) or container_spec()
    template = fields.pop("task_template", None) or TaskSpec(container_spec=container)
    fields.setdefault("mode", ServiceMode(replicated=Replicated(replicas=1)))
    return ServiceSpec(name=name, task_template=template, **fields)


def service(name: str = "web", **fields: Any) -> Service:
    """A service called `name`; what is no field of it goes into its spec."""
    own = {key: fields.pop(key) for key in tuple(fields) if key in Service.__struct_fields__}
    return Service(**{"id": id_of(name), **AT, "spec": service_spec(name, **fields), **own})


def task(name: str, of: Service, state: TaskState = TaskState.RUNNING, **fields: Any) -> Task:
    """A task of a service, as its spec is now."""
    values: dict[str, Any] = {
        "id": id_of(name),
        **AT,
        "service_id": of.id,
        "service_name": of.name,
        "slot": 1,
        "node_id": id_of("n1"),
        "spec": of.spec.task_template,
        "spec_version": of.spec_version,
        "service_labels": of.spec.labels,
        "status": TaskStatus(state=state, timestamp=EPOCH),
        "desired_state": TaskState.RUNNING,
    }
    return Task(**{**values, **fields})


def secret(name: str, data: str = "c2VjcmV0", **fields: Any) -> Secret:
    """A secret called `name`."""
    return Secret(id=id_of(name), **AT, spec=SecretSpec(name=name, data=data, **fields))


def config(name: str, data: str = "Y29uZmln", **fields: Any) -> Config:
    """A config called `name`."""
    return Config(id=id_of(name), **AT, spec=ConfigSpec(name=name, data=data, **fields))


def network(name: str, **fields: Any) -> ClusterNetwork:
    """A network that has been allocated."""
    subnets = [VxlanNetwork(subnet="10.0.1.0/24", gateway="10.0.1.1", vxlan_id=4097)]
    spec = NetworkSpec(name=name, **fields)
    return ClusterNetwork(id=id_of(name), **AT, spec=spec, subnets=subnets)


def with_secret(one: Secret) -> SecretReference:
    """A task's claim to a secret."""
    return SecretReference(file=FileTarget(name=one.name), secret_id=one.id, secret_name=one.name)


def with_config(one: Config) -> ConfigReference:
    """A task's claim to a config."""
    return ConfigReference(file=FileTarget(name=one.name), config_id=one.id, config_name=one.name)
