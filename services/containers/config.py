"""What a client asks of a container: the Engine API's ContainerConfig and HostConfig.

The structs carry Docker's JSON names (`rename`), so that a request decodes straight into them, an
inspect answer is encoded straight from them, and the durable record holds the same text. Inside
the engine only the snake_case attributes exist. Absent and null both mean the default.

Source: Engine API, schemas ContainerConfig, HostConfig, Resources, NetworkingConfig.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Uint16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
Uint64 = Annotated[int, msgspec.Meta(ge=0)]

_IRREGULAR = {
    "id": "ID", "dns": "Dns", "ipc_mode": "IpcMode", "uts_mode": "UTSMode",
    "container_id_file": "ContainerIDFile", "network_id": "NetworkID", "endpoint_id": "EndpointID",
    "ip_address": "IPAddress", "ip_prefix_len": "IPPrefixLen", "ipv6_gateway": "IPv6Gateway",
    "global_ipv6_address": "GlobalIPv6Address", "global_ipv6_prefix_len": "GlobalIPv6PrefixLen",
    "dns_names": "DNSNames", "ipam_config": "IPAMConfig", "ipv4_address": "IPv4Address",
    "ipv6_address": "IPv6Address", "link_local_ips": "LinkLocalIPs", "host_ip": "HostIp",
    "device_ids": "DeviceIDs", "io_maximum_iops": "IOMaximumIOps",
    "io_maximum_bandwidth": "IOMaximumBandwidth",
    "blkio_device_read_iops": "BlkioDeviceReadIOps",
    "blkio_device_write_iops": "BlkioDeviceWriteIOps",
    "usernsmode": "UsernsMode", "kernel_memory_tcp": "KernelMemoryTCP",
}  # fmt: skip


def docker_name(attribute: str) -> str:
    """The Engine API's spelling of one of our attribute names."""
    return _IRREGULAR.get(attribute) or "".join(w.capitalize() for w in attribute.split("_"))


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename=docker_name):
    """A value with Docker's JSON names."""


class HealthConfig(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Durations are nanoseconds, 0 inherits.

    `test` is Docker's: [], ["NONE"], ["CMD", word, ...], ["CMD-SHELL", text].
    """

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


class ContainerConfig(Wire, frozen=True, kw_only=True):
    """What goes along with the image: independent of the host."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | msgspec.UnsetType = msgspec.UNSET
    args_escaped: bool | msgspec.UnsetType = msgspec.UNSET
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool | msgspec.UnsetType = msgspec.UNSET
    on_build: list[str] | None = None
    labels: dict[str, str] = {}
    stop_signal: str | msgspec.UnsetType = msgspec.UNSET
    stop_timeout: int | msgspec.UnsetType = msgspec.UNSET
    shell: list[str] | msgspec.UnsetType = msgspec.UNSET


class LogConfig(Wire, frozen=True, kw_only=True):
    """`type` "" means the daemon's default driver."""

    type: str = ""
    config: dict[str, str] = {}


class RestartPolicy(Wire, frozen=True, kw_only=True):
    """`name`: "", "no", "always", "unless-stopped" or "on-failure"; the count is for the last."""

    name: str = ""
    maximum_retry_count: int = 0


class PortBinding(Wire, frozen=True, kw_only=True):
    """Both may be "": any address, an ephemeral port."""

    host_ip: str = ""
    host_port: str = ""


class WeightDevice(Wire, frozen=True, kw_only=True):
    """`weight` is 10 to 1000."""

    path: str = ""
    weight: Uint16 = 0


class ThrottleDevice(Wire, frozen=True, kw_only=True):
    """`rate` is bytes or operations a second."""

    path: str = ""
    rate: Uint64 = 0


class DeviceMapping(Wire, frozen=True, kw_only=True):
    """`cgroup_permissions` is a subset of "rwm"."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Wire, frozen=True, kw_only=True):
    """A request to a device driver (CDI, nvidia)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = None
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Wire, frozen=True, kw_only=True):
    """-1 is unlimited."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class BindOptions(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """`propagation` is "", "private", "rprivate", "shared", "rshared", "slave" or "rslave"."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A volume driver and its options."""

    name: str = ""
    options: dict[str, str] = {}


class VolumeOptions(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a mount of type volume."""

    no_copy: bool = False
    labels: dict[str, str] = {}
    driver_config: DriverConfig | None = None
    subpath: str = ""


class ImageOptions(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a mount of type image."""

    subpath: str = ""


class TmpfsOptions(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """`mode` is a permission number, `options` pairs or single words."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] = []


class Mount(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """One `--mount`: `type` is bind, volume, tmpfs, image, npipe or cluster."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HostConfig(Wire, frozen=True, kw_only=True):
    """What depends on the host: limits, mounts, namespaces, networking mode, security."""

    binds: list[str] | None = None
    container_id_file: str = ""
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: tuple[Uint64, Uint64] = (0, 0)  # rows, columns
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    tmpfs: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    uts_mode: str = ""
    userns_mode: str = ""
    shm_size: int = 0  # bytes; 0 is the daemon's default
    sysctls: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    runtime: str = ""
    isolation: str = ""
    cpu_shares: int = 0
    memory: int = 0  # bytes; 0 is unlimited
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: Uint16 = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = None
    blkio_device_write_iops: list[ThrottleDevice] | None = None
    cpu_period: int = 0  # microseconds
    cpu_quota: int = 0  # microseconds
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int = 0  # bytes; clients below 1.42 only, and runc 1.1 passes over it
    kernel_memory_tcp: int = 0  # bytes; from 1.40 to 1.51 only, and the same
    memory_reservation: int = 0  # bytes
    memory_swap: int = 0  # bytes, memory included; -1 is unlimited
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None  # None, 0 and -1 are unlimited
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: Uint64 = 0
    io_maximum_bandwidth: Uint64 = 0
    mounts: list[Mount] | msgspec.UnsetType = msgspec.UNSET
    masked_paths: list[str] | None = None  # None is Docker's default list, [] is none
    readonly_paths: list[str] | None = None
    init: bool | msgspec.UnsetType = msgspec.UNSET


class EndpointIPAMConfig(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Addresses that the user asked for."""

    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: list[str] | None = None


class EndpointSettings(Wire, frozen=True, kw_only=True):
    """One container's place in one network: what was asked, and what came of it."""

    ipam_config: EndpointIPAMConfig | None = None
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = ""
    endpoint_id: str = ""
    gateway: str = ""
    ip_address: str = ""
    ip_prefix_len: int = 0
    ipv6_gateway: str = ""
    global_ipv6_address: str = ""
    global_ipv6_prefix_len: int = 0
    dns_names: list[str] | None = None


class NetworkingConfig(Wire, frozen=True, kw_only=True):
    """The networks to join at start, by name or id."""

    endpoints_config: dict[str, EndpointSettings | None] = {}
