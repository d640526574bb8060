"""What the command line and daemon.json decide, frozen, in the sections that the parts are handed.

`loading` makes it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from services.api.listening.hosts import Host, TcpHost
from services.registry.settings import RegistrySettings

from .values import AddressPool, Runtime, Ulimit

if TYPE_CHECKING:
    from services.api.access.scopes import ScopedSocket


class ConfigError(Exception):
    """The configuration cannot be used; the text says why, as dockerd says it. Exit status 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The engine's own log."""

    level: str = "info"  # one of LOG_LEVELS; `debug` on top of it wins
    debug: bool = False
    format: Literal["text", "json"] = "text"
    raw: bool = False  # full time stamps, no colour

    @property
    def effective_level(self) -> str:
        """The level in force: debug mode means at least debug."""
        return "debug" if self.debug and self.level != "trace" else self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS on every tcp:// host. A missing file is the server's to report."""

    verify: bool  # demand a certificate that `ca_file` vouches for
    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where and how the API is served."""

    hosts: tuple[Host, ...]  # at least one
    group: str = "docker"  # of the unix sockets; empty: none
    group_given: bool = False  # asked for by name: then it must exist
    tls: TlsSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may do what through the API, and where that is written down."""

    authorization_plugins: tuple[str, ...] = ()  # asked in this order
    scoped_sockets: tuple[ScopedSocket, ...] = ()
    audit_log: Path | None = None  # None: nothing is written down


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerdSettings:
    """The containerd to speak to."""

    address: Path | None = None  # None: run one of our own
    namespace: str = "moby"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDefaults:
    """What a container gets when its own configuration does not say."""

    shm_size_bytes: int
    ulimits: tuple[Ulimit, ...]
    cgroupns_mode: Literal["", "host", "private"]  # empty: host on cgroup v1, private on v2
    ipc_mode: Literal["private", "shareable"]
    stop_timeout_s: int
    cgroup_parent: str  # empty: the default parent
    cgroup_driver: Literal["", "cgroupfs", "systemd"]  # empty: as the host has it
    cpu_rt_period_us: int  # of the cgroup that containers' are in; 0: as the kernel has it
    cpu_rt_runtime_us: int
    init: bool
    init_path: str  # empty: tini from PATH
    no_new_privileges: bool
    seccomp_profile: str  # "builtin", "unconfined", or a path
    log_budget_bytes: int  # for all containers' log files together; 0: without bound
    log_driver: str
    log_opts: tuple[tuple[str, str], ...]
    default_runtime: str
    runtimes: tuple[Runtime, ...]  # besides runc
    dns: tuple[str, ...]
    dns_options: tuple[str, ...]
    dns_search: tuple[str, ...]
    cdi_directories: tuple[str, ...]  # empty: CDI is off


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDefaults:
    """The default bridge, and what the engine may change on the host for it."""

    bridge: str  # empty: docker0, made by the engine; "none": no default bridge
    bridge_address: ipaddress.IPv4Interface | None  # --bip
    fixed_cidr: ipaddress.IPv4Network | None
    gateway: ipaddress.IPv4Address | None
    ipv6: bool
    bridge_address6: ipaddress.IPv6Interface | None  # --bip6
    fixed_cidr6: ipaddress.IPv6Network | None
    gateway6: ipaddress.IPv6Address | None
    mtu: int
    icc: bool
    pools: tuple[AddressPool, ...]  # empty: dockerd's
    default_options: Mapping[str, Mapping[str, str]]  # of new networks, by driver
    ip_forward: bool
    ip_masquerade: bool
    firewall: bool  # --iptables
    firewall6: bool  # --ip6tables
    userland_proxy: bool
    host_address: str  # --ip: of ports that name none, on the default bridge; 0.0.0.0 is all
    allow_direct_routing: bool
    accept_mark: tuple[int, int] | None  # --bridge-accept-fwmark: mark and mask
    host_gateways: tuple[str, ...]  # --host-gateway-ip, IPv4 first; empty: the bridge's address


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What a swarm is told of this node."""

    advertise_addr: str = ""  # address or interface; "" leaves it to the machine's routes
    generic_resources: tuple[str, ...] = ()  # kind=value, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the command line and the configuration file decide."""

    config_file: Path
    data_root: Path
    exec_root: Path
    pidfile: Path | None  # None: --pidfile=""
    shutdown_timeout_s: int  # for all containers to stop; -1: as long as it takes
    live_restore: bool
    labels: tuple[str, ...]  # key=value
    experimental: bool
    features: tuple[tuple[str, str], ...]
    metrics_address: str  # host:port; empty: no metrics server
    observer: TcpHost | None  # where the observer's page is served; None: on unix sockets only
    log: LogSettings
    api: ApiSettings
    access: AccessSettings
    containerd: ContainerdSettings
    containers: ContainerDefaults
    network: NetworkDefaults
    cluster: ClusterSettings
    registry: RegistrySettings
