"""What is stored: nodes, services, tasks, networks, secrets, configs, and the cluster.

Values; a change is a new value. `version` is the store's revision of the last change (Docker's
Version.Index): it is not part of what is stored, and 0 before an object was stored.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import ClassVar, TypeVar

import msgspec

from services.cluster.model.specs import (
    ConfigSpec,
    EndpointSpec,
    NetworkSpec,
    NodeSpec,
    PortConfig,
    SecretSpec,
    ServiceSpec,
)
from services.cluster.model.swarm_spec import SwarmSpec
from services.cluster.model.task_spec import GenericResource, Platform, Resources, TaskSpec
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import Wire


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every object has. `kind` is the word in its key. For `gc` see `Wire`."""

    kind: ClassVar[str] = ""
    id: str
    created_at: datetime
    updated_at: datetime
    version: int = 0

    @property
    def name(self) -> str:
        """What clients call it besides its id; "" for none."""
        return ""


StoredT = TypeVar("StoredT", bound=Stored)


class NodeState(IntEnum):
    """Whether the managers hear of a node."""

    UNKNOWN = 0
    DOWN = 1
    READY = 2
    DISCONNECTED = 3


class EngineDescription(Wire, frozen=True, kw_only=True):
    """What a node's engine says of itself. `plugins` are pairs of type and name."""

    engine_version: str = ""
    labels: dict[str, str] = {}
    plugins: list[tuple[str, str]] = []


class NodeDescription(Wire, frozen=True, kw_only=True):
    """What a node's agent reports."""

    hostname: str = ""
    platform: Platform = Platform()
    resources: Resources = Resources()
    engine: EngineDescription = EngineDescription()


class NodeStatus(Wire, frozen=True, kw_only=True):
    """`addr` is the node's as the managers see it; `since` is when the state began."""

    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    addr: str = ""
    since: datetime | None = None


class ManagerMember(Wire, frozen=True, kw_only=True):
    """A manager's place: `addr` is host:port for joins and agents, `member_id` etcd's of it."""

    addr: str = ""
    member_id: str = ""  # hexadecimal


class Node(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """An engine that has joined. `role` is what its certificate says, `spec.role` what is wanted.

    `data_path_addr` is where other nodes send what goes over overlay networks.
    """

    kind: ClassVar[str] = "node"
    spec: NodeSpec = NodeSpec()
    role: str = "worker"
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    manager: ManagerMember | None = None
    data_path_addr: str = ""
    certificate_issuer: str = ""  # digest of the root that signed the node's certificate

    @property
    def name(self) -> str:
        """The name in its spec, else its host's."""
        return self.spec.name or self.description.hostname


class Session(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """Stands for an agent that a manager hears of; its id is the node's.

    It is stored under a lease, which the manager that hears the agent keeps alive.
    """

    kind: ClassVar[str] = "session"
    addr: str = ""  # the agent's, as the manager sees it


class VirtualIp(Wire, frozen=True, kw_only=True):
    """`addr` with its prefix length, 10.0.1.2/24."""

    network_id: str = ""
    addr: str = ""


class Endpoint(Wire, frozen=True, kw_only=True):
    """What was allocated for a service: `spec` is what it was allocated for."""

    spec: EndpointSpec | None = None
    ports: list[PortConfig] = []
    virtual_ips: list[VirtualIp] = []


class UpdateStatus(Wire, frozen=True, kw_only=True):
    """`state` is updating, paused, completed, rollback_started, rollback_paused or
    rollback_completed."""

    state: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    message: str = ""


class JobStatus(Wire, frozen=True, kw_only=True):
    """A job's run: each update of its spec is a new iteration."""

    iteration: int = 0
    last_execution: datetime | None = None


class Service(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """A service, its spec before the last update, and how far that has come.

    `spec_version` grows with each change of the spec; tasks bear the one that they were made of.
    """

    kind: ClassVar[str] = "service"
    spec: ServiceSpec
    spec_version: int = 1
    previous_spec: ServiceSpec | None = None
    previous_spec_version: int = 0
    endpoint: Endpoint | None = None
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None

    @property
    def name(self) -> str:
        """Unique among services."""
        return self.spec.name


class ContainerStatus(Wire, frozen=True, kw_only=True):
    """The container of a task, once it is there."""

    container_id: str = ""
    pid: int = 0
    exit_code: int = 0


class TaskStatus(Wire, frozen=True, kw_only=True):
    """What was last seen of a task. `err` is set for what failed or was rejected.

    `ports` are those published in host mode, with the ports that were chosen. `running_at` is when
    it first was RUNNING, and stays when it ends: an update judges by it whether a task ended early.
    """

    state: TaskState = TaskState.NEW
    timestamp: datetime | None = None
    running_at: datetime | None = None
    message: str = ""
    err: str = ""
    container: ContainerStatus | None = None
    ports: list[PortConfig] = []


class NetworkAttachment(Wire, frozen=True, kw_only=True):
    """A task's place in a network; addresses bear their prefix length."""

    network_id: str = ""
    addresses: list[str] = []
    aliases: list[str] = []
    driver_opts: dict[str, str] = {}


class Task(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a service's template. `slot` 0: the task of a node (global services)."""

    kind: ClassVar[str] = "task"
    service_id: str = ""
    service_name: str = ""
    slot: int = 0
    node_id: str = ""
    spec: TaskSpec = TaskSpec()
    spec_version: int = 0
    service_labels: dict[str, str] = {}
    status: TaskStatus = TaskStatus()
    desired_state: TaskState = TaskState.NEW
    networks: list[NetworkAttachment] = []
    endpoint: Endpoint | None = None
    generic_resources: list[GenericResource] = []
    job_iteration: int | None = None
    start_after: datetime | None = None  # a restart's delay: not moved to RUNNING before
    restart_count: int = 0  # how many restarts with this spec led to it
    restart_times: list[datetime] = []  # those in the policy's window; empty without one

    @property
    def name(self) -> str:
        """Docker's: service.slot.id, and service.node.id for a global one."""
        return f"{self.service_name}.{self.slot or self.node_id}.{self.id}"


class VxlanNetwork(Wire, frozen=True, kw_only=True):
    """What was allocated for an overlay network, one id and one range a subnet."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    vxlan_id: int = 0


class ClusterNetwork(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """A network that spans nodes. `subnets` is empty until it was allocated.

    `balancer_addrs`: by node, the address (with prefix length) that the node itself has in the
    network, for balancing on behalf of who cannot.
    """

    kind: ClassVar[str] = "network"
    spec: NetworkSpec
    subnets: list[VxlanNetwork] = []
    balancer_addrs: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Unique among the cluster's networks."""
        return self.spec.name


class LeavingNetwork(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """A network that was removed, and that containers which are to end are still in. Its id is the
    network's.

    For users it is gone, and its name is free. Nodes have it until the last of these containers has
    ended, and nobody else gets its subnets and VXLAN ids before.
    """

    kind: ClassVar[str] = "leaving-network"
    network: ClusterNetwork


class Secret(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """A secret; the data in its spec is sealed in the store when managers lock themselves."""

    kind: ClassVar[str] = "secret"
    spec: SecretSpec

    @property
    def name(self) -> str:
        """Unique among secrets."""
        return self.spec.name


class Config(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """A config."""

    kind: ClassVar[str] = "config"
    spec: ConfigSpec

    @property
    def name(self) -> str:
        """Unique among configs."""
        return self.spec.name


class JoinTokens(Wire, frozen=True, kw_only=True):
    """The secret halves; what users see also holds the root's digest."""

    worker: str = ""
    manager: str = ""


class RootCa(Wire, frozen=True, kw_only=True):
    """The authority that signs nodes' certificates, in PEM. `next` is set while it is replaced.

    `key` is sealed in the store when managers lock themselves.
    """

    certificate: str = ""
    key: str = ""
    cross_signed: str = ""
    join_tokens: JoinTokens = JoinTokens()
    last_forced_rotation: int = 0
    next_certificate: str = ""
    next_key: str = ""


class NetworkKey(Wire, frozen=True, kw_only=True):
    """What encrypted networks are encrypted with. The newest has the highest number.

    `key` is 256 bits in base64; it is sealed in the store.
    """

    number: int
    key: str
    made_at: datetime


class Cluster(Stored, frozen=True, kw_only=True, omit_defaults=True):
    """The one object that stands for the cluster. `unlock_key` is what managers show when asked.

    `network_keys`, oldest first, is empty while no network is encrypted.
    """

    kind: ClassVar[str] = "cluster"
    spec: SwarmSpec = SwarmSpec()
    root_ca: RootCa = RootCa()
    unlock_key: str = ""
    default_address_pool: list[str] = []
    subnet_size: int = 24
    data_path_port: int = 4789
    network_keys: list[NetworkKey] = []


KINDS: tuple[type[Stored], ...] = (
    Cluster, Node, Session, Service, Task, ClusterNetwork, LeavingNetwork, Secret, Config,
)  # fmt: skip
