"""What clients ask for: the specs of nodes, services, networks, secrets and configs.

Each struct decodes a request straight and is stored as it was asked for. Durations are nanoseconds.
Source: Engine API, schemas NodeSpec, ServiceSpec, SecretSpec, ConfigSpec.
"""

from __future__ import annotations

from services.cluster.model.task_spec import NetworkAttachmentConfig, TaskSpec
from services.cluster.model.wire import Wire


class NodeSpec(Wire, frozen=True, kw_only=True):
    """`role` is worker or manager, `availability` active, pause or drain."""

    name: str = ""
    labels: dict[str, str] = {}
    role: str = "worker"
    availability: str = "active"


class Replicated(Wire, frozen=True, kw_only=True):
    """None is one replica."""

    replicas: int | None = None


class ReplicatedJob(Wire, frozen=True, kw_only=True):
    """None: `max_concurrent` is 1, `total_completions` is as many as `max_concurrent`."""

    max_concurrent: int | None = None
    total_completions: int | None = None


class Empty(Wire, frozen=True, kw_only=True):
    """A mode without options."""


class ServiceMode(Wire, frozen=True, kw_only=True):
    """One of them is set; none is one replica."""

    replicated: Replicated | None = None
    global_: Empty | None = None
    replicated_job: ReplicatedJob | None = None
    global_job: Empty | None = None


class UpdateConfig(Wire, frozen=True, kw_only=True):
    """How replacements go. `parallelism` 0 is all at once.

    `failure_action` is pause, continue or rollback; `order` stop-first or start-first.
    """

    parallelism: int = 0
    delay: int = 0
    failure_action: str = ""
    monitor: int | None = None  # None is 5 s
    max_failure_ratio: float = 0.0
    order: str = ""


class PortConfig(Wire, frozen=True, kw_only=True):
    """`published_port` 0 is chosen; `publish_mode` is ingress or host."""

    name: str = ""
    protocol: str = "tcp"
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = "ingress"


class EndpointSpec(Wire, frozen=True, kw_only=True):
    """`mode` is vip or dnsrr; "" is vip."""

    mode: str = ""
    ports: list[PortConfig] = []


class ServiceSpec(Wire, frozen=True, kw_only=True):
    """A service as its user wrote it."""

    name: str = ""
    labels: dict[str, str] = {}
    task_template: TaskSpec = TaskSpec()
    mode: ServiceMode = ServiceMode()
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    networks: list[NetworkAttachmentConfig] = []
    endpoint_spec: EndpointSpec | None = None


class Driver(Wire, frozen=True, kw_only=True):
    """A driver by name, with its options."""

    name: str = ""
    options: dict[str, str] = {}


class SecretSpec(Wire, frozen=True, kw_only=True):
    """`data` is base64. It never leaves in an answer. Config data does (`ConfigSpec`)."""

    name: str = ""
    labels: dict[str, str] = {}
    data: str = ""
    driver: Driver | None = None
    templating: Driver | None = None


class ConfigSpec(Wire, frozen=True, kw_only=True):
    """`data` is base64."""

    name: str = ""
    labels: dict[str, str] = {}
    data: str = ""
    templating: Driver | None = None


class IpamRange(Wire, frozen=True, kw_only=True):
    """One subnet that was asked for, or given."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class NetworkSpec(Wire, frozen=True, kw_only=True):
    """A network that spans nodes: `driver` is overlay, or that of a `config_from` network.

    It is swarm's own shape; clients write the same as `POST /networks/create`.
    """

    name: str = ""
    labels: dict[str, str] = {}
    driver: str = "overlay"
    options: dict[str, str] = {}
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam: list[IpamRange] = []
    config_from: str = ""
