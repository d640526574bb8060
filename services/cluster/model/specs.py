"""What clients ask for: the specs of nodes, services, secrets, configs and the cluster itself.

Each struct decodes a request straight and is stored as it was asked for. Durations are nanoseconds.
Source: Engine API, schemas NodeSpec, ServiceSpec, TaskSpec, SwarmSpec, SecretSpec, ConfigSpec.
"""

from __future__ import annotations

from typing import Any

from services.cluster.model.wire import Wire
from services.containers.config import HealthConfig, Mount, Ulimit


class NodeSpec(Wire, frozen=True, kw_only=True):
    """`role` is worker or manager, `availability` active, pause or drain."""

    name: str = ""
    labels: dict[str, str] = {}
    role: str = "worker"
    availability: str = "active"


class NamedGenericResource(Wire, frozen=True, kw_only=True):
    """One thing of a kind, known by its own name."""

    kind: str = ""
    value: str = ""


class DiscreteGenericResource(Wire, frozen=True, kw_only=True):
    """A number of things of a kind."""

    kind: str = ""
    value: int = 0


class GenericResource(Wire, frozen=True, kw_only=True):
    """Exactly one of the two is set."""

    named_resource_spec: NamedGenericResource | None = None
    discrete_resource_spec: DiscreteGenericResource | None = None


class Resources(Wire, frozen=True, kw_only=True):
    """Processor time in billionths of a processor, memory in bytes; 0 is none asked for.

    `pids` is a limit's only, `generic_resources` a reservation's and a node's.
    """

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0
    generic_resources: list[GenericResource] = []


class ResourceRequirements(Wire, frozen=True, kw_only=True):
    """What a task may use, and what is set aside for it."""

    limits: Resources | None = None
    reservations: Resources | None = None
    swap_bytes: int | None = None
    memory_swappiness: int | None = None


class TaskRestartPolicy(Wire, frozen=True, kw_only=True):
    """`condition` is none, on-failure or any ("" is any). `window` 0 counts attempts for ever."""

    condition: str = ""
    delay: int | None = None  # None is 5 s
    max_attempts: int | None = None  # None and 0 are unlimited
    window: int | None = None


class SpreadOver(Wire, frozen=True, kw_only=True):
    """`spread_descriptor` is node.labels.NAME or engine.labels.NAME."""

    spread_descriptor: str = ""


class PlacementPreference(Wire, frozen=True, kw_only=True):
    """Spreading is the only strategy."""

    spread: SpreadOver | None = None


class Platform(Wire, frozen=True, kw_only=True):
    """ "" fits all."""

    architecture: str = ""
    os: str = ""


class Placement(Wire, frozen=True, kw_only=True):
    """Where tasks may run. `max_replicas` is for each node; 0 is unlimited."""

    constraints: list[str] = []
    preferences: list[PlacementPreference] = []
    max_replicas: int = 0
    platforms: list[Platform] = []


class LogDriver(Wire, frozen=True, kw_only=True):
    """A log driver by name, with its options."""

    name: str = ""
    options: dict[str, str] = {}


class NetworkAttachmentConfig(Wire, frozen=True, kw_only=True):
    """`target` is a network's name or id; the control operations make it an id.

    `addresses` are of a container that was started by hand with addresses of its own.
    """

    target: str = ""
    aliases: list[str] = []
    addresses: list[str] = []
    driver_opts: dict[str, str] = {}


class FileTarget(Wire, frozen=True, kw_only=True):
    """Where a secret or config appears. A relative secret stands under /run/secrets."""

    name: str = ""
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


class SecretReference(Wire, frozen=True, kw_only=True):
    """A secret that a task gets."""

    file: FileTarget | None = None
    secret_id: str = ""
    secret_name: str = ""


class ConfigReference(Wire, frozen=True, kw_only=True):
    """A config that a task gets: as a file, or by `runtime` as a credential spec."""

    file: FileTarget | None = None
    runtime: dict[str, Any] | None = None
    config_id: str = ""
    config_name: str = ""


class DnsConfig(Wire, frozen=True, kw_only=True):
    """As a container's --dns, --dns-search and --dns-option."""

    nameservers: list[str] = []
    search: list[str] = []
    options: list[str] = []


class Seccomp(Wire, frozen=True, kw_only=True):
    """`mode` is default, unconfined or custom; `profile` is base64 of a JSON profile."""

    mode: str = ""
    profile: str = ""


class AppArmor(Wire, frozen=True, kw_only=True):
    """`mode` is default or disabled."""

    mode: str = ""


class Privileges(Wire, frozen=True, kw_only=True):
    """Security options of a service's containers. The first two have no effect here."""

    credential_spec: dict[str, Any] | None = None
    selinux_context: dict[str, Any] | None = None
    seccomp: Seccomp | None = None
    app_armor: AppArmor | None = None
    no_new_privileges: bool = False


class ContainerSpec(Wire, frozen=True, kw_only=True):
    """What runs. `command` replaces the image's entrypoint, `args` its command."""

    image: str = ""
    registry_auth: str = ""  # X-Registry-Auth as it came, for nodes' pulls; never answered
    labels: dict[str, str] = {}
    command: list[str] = []
    args: list[str] = []
    hostname: str = ""
    env: list[str] = []
    dir: str = ""
    user: str = ""
    groups: list[str] = []
    privileges: Privileges | None = None
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    mounts: list[Mount] = []
    stop_signal: str = ""
    stop_grace_period: int | None = None  # None is 10 s
    health_check: HealthConfig | None = None
    hosts: list[str] = []  # "IP name [alias ...]", as in /etc/hosts
    dns_config: DnsConfig | None = None
    secrets: list[SecretReference] = []
    configs: list[ConfigReference] = []
    oom_score_adj: int = 0
    isolation: str = ""
    init: bool | None = None
    sysctls: dict[str, str] = {}
    capability_add: list[str] = []
    capability_drop: list[str] = []
    ulimits: list[Ulimit] = []


class NetworkAttachmentSpec(Wire, frozen=True, kw_only=True):
    """A task that stands for a container started by hand on an attachable network."""

    container_id: str = ""


class TaskSpec(Wire, frozen=True, kw_only=True):
    """A service's template for its tasks. `runtime` is "", container or attachment."""

    container_spec: ContainerSpec | None = None
    network_attachment_spec: NetworkAttachmentSpec | None = None
    plugin_spec: dict[str, Any] | None = None
    resources: ResourceRequirements | None = None
    restart_policy: TaskRestartPolicy | None = None
    placement: Placement | None = None
    force_update: int = 0
    runtime: str = ""
    networks: list[NetworkAttachmentConfig] = []
    log_driver: LogDriver | None = None


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


class Orchestration(Wire, frozen=True, kw_only=True):
    """How many ended tasks are kept for a slot; negative keeps all."""

    task_history_retention_limit: int = 5


class Raft(Wire, frozen=True, kw_only=True):
    """Kept and shown for clients; etcd has values of its own."""

    snapshot_interval: int = 10000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 10
    heartbeat_tick: int = 1


class DispatcherConfig(Wire, frozen=True, kw_only=True):
    """How often agents say that they live."""

    heartbeat_period: int = 5_000_000_000


class CaConfig(Wire, frozen=True, kw_only=True):
    """Certificates of nodes. The signing key is never stored here, nor answered."""

    node_cert_expiry: int = 7_776_000_000_000_000  # 90 days
    external_cas: list[dict[str, Any]] = []
    signing_ca_cert: str = ""
    signing_ca_key: str = ""
    force_rotate: int = 0


class EncryptionConfig(Wire, frozen=True, kw_only=True):
    """Whether a manager that starts needs the unlock key."""

    auto_lock_managers: bool = False


class TaskDefaults(Wire, frozen=True, kw_only=True):
    """What tasks get whose services do not say."""

    log_driver: LogDriver | None = None


class SwarmSpec(Wire, frozen=True, kw_only=True):
    """The cluster's own settings."""

    name: str = "default"
    labels: dict[str, str] = {}
    orchestration: Orchestration = Orchestration()
    raft: Raft = Raft()
    dispatcher: DispatcherConfig = DispatcherConfig()
    ca_config: CaConfig = CaConfig()
    task_defaults: TaskDefaults = TaskDefaults()
    encryption_config: EncryptionConfig = EncryptionConfig()
