"""What a service's tasks are made of: what runs, where it may, and what it gets.

Durations are nanoseconds. Source: Engine API, schema TaskSpec."""

from __future__ import annotations

from typing import Any

from services.cluster.model.wire import Wire
from services.containers.config import HealthConfig, Mount, Ulimit


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
