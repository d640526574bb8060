"""How each setting is changed while the engine runs, as data.

The plan of a reload, its answer and docs/configuration.md are made of it. A field of `Settings`
that has no rule here waits for a restart of the daemon; a test asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from supervisor.configuration.options import OPTIONS

METRICS: Final = "root/faces/metrics"
OBSERVER: Final = "root/faces/observer"
API: Final = "root/faces/api"


class How(Enum):
    """What it takes."""

    LIVE = "live"  # whoever uses it asks anew
    PART = "part"  # a part of the tree ends and begins anew, alone
    DAEMON = "daemon"  # everything stands on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one field, or a whole section, is changed."""

    how: How
    part: str = ""  # with PART: its path in the tree
    note: str = ""  # for people: when it takes effect, or why not now


def _live(note: str = "") -> Rule:
    return Rule(how=How.LIVE, note=note)


def _part(path: str, note: str) -> Rule:
    return Rule(how=How.PART, part=path, note=note)


def _daemon(note: str) -> Rule:
    return Rule(how=How.DAEMON, note=note)


_NEW: Final = "for containers that are made from then on"
_STARTED: Final = "for containers and execs that are started from then on"
_DATA: Final = "it says where data lies"
_PROCESS: Final = "it is given as a flag only"
_BRIDGE: Final = "containers are connected to the bridge as it is"
_CGROUPS: Final = "running containers are found by it"

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "config_file": _daemon(_PROCESS),
        "data_root": _daemon(_DATA),
        "exec_root": _daemon(_DATA),
        "pidfile": _daemon("it is taken for the life of the process"),
        "containerd": _daemon(_DATA),
        "shutdown_timeout_s": _live(),
        "live_restore": _live(),
        "labels": _live(),
        "experimental": _live(),
        "features": _live(),
        "metrics_address": _part(METRICS, "the counts go on"),
        "observer": _part(OBSERVER, "its page is read again"),
        "log": _live(),
        "api.hosts": _part(API, "servers are added and taken away; the others keep their clients"),
        "api.group": _live("sockets that are there change hands"),
        "api.group_given": _live(),
        "access.authorization_plugins": _live("asked from the next request on"),
        "access.scoped_sockets": _part(
            API, "added, taken away, or judged anew; what is open on one that changes ends in 5 s"
        ),
        "access.audit_log": _live("what is under way is written where it began"),
        "api.tls": _live("for connections that are accepted from then on"),
        "containers.shm_size_bytes": _live(_NEW),
        "containers.ulimits": _live(_STARTED),
        "containers.cgroupns_mode": _live(_NEW),
        "containers.ipc_mode": _live(_NEW),
        "containers.stop_timeout_s": _live(),
        "containers.cgroup_parent": _daemon(_CGROUPS),
        "containers.cgroup_driver": _daemon(_CGROUPS),
        "containers.cpu_rt_period_us": _live(_STARTED),
        "containers.cpu_rt_runtime_us": _live(_STARTED),
        "containers.init": _live(_STARTED),
        "containers.init_path": _live(_STARTED),
        "containers.no_new_privileges": _live(_STARTED),
        "containers.seccomp_profile": _live(_STARTED + "; the file is read by each reload"),
        "containers.log_budget_bytes": _live("a smaller one is kept to within seconds"),
        "containers.log_driver": _live(_NEW),
        "containers.log_opts": _live(_NEW),
        "containers.default_runtime": _live(_NEW),
        "containers.runtimes": _live(_STARTED),
        "containers.dns": _live(_STARTED),
        "containers.dns_options": _live(_STARTED),
        "containers.dns_search": _live(_STARTED),
        "containers.cdi_directories": _live(_STARTED),
        "network": _daemon(_BRIDGE),
        "network.default_options": _live("for networks that are made from then on"),
        "network.host_gateways": _live(_STARTED),
        "network.pools": _live("for networks that are made from then on"),
        "cluster.advertise_addr": _live("for a swarm that is begun or joined from then on"),
        "cluster.generic_resources": _live("told with the node's next session"),
        "registry": _live("for pulls and pushes that begin from then on"),
    }
)
"""By path of a field or a section; the longest one that fits counts."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "add-runtime": ("containers.runtimes",),
        "allow-direct-routing": ("network.allow_direct_routing",),
        "audit-log": ("access.audit_log",),
        "authorization-plugin": ("access.authorization_plugins",),
        "bip": ("network.bridge_address",),
        "bip6": ("network.bridge_address6",),
        "bridge": ("network.bridge",),
        "bridge-accept-fwmark": ("network.accept_mark",),
        "cdi-spec-dir": ("containers.cdi_directories",),
        "cgroup-parent": ("containers.cgroup_parent",),
        "config-file": ("config_file", "registry.certs_dirs"),
        "containerd": ("containerd.address",),
        "containerd-namespace": ("containerd.namespace",),
        "cpu-rt-period": ("containers.cpu_rt_period_us",),
        "cpu-rt-runtime": ("containers.cpu_rt_runtime_us",),
        "data-root": ("data_root",),
        "debug": ("log.debug",),
        "default-cgroupns-mode": ("containers.cgroupns_mode",),
        "default-address-pool": ("network.pools",),
        "default-gateway": ("network.gateway",),
        "default-gateway-v6": ("network.gateway6",),
        "default-network-opt": ("network.default_options",),
        "default-ipc-mode": ("containers.ipc_mode",),
        "default-runtime": ("containers.default_runtime",),
        "default-shm-size": ("containers.shm_size_bytes",),
        "default-stop-timeout": ("containers.stop_timeout_s",),
        "default-ulimit": ("containers.ulimits",),
        "dns": ("containers.dns",),
        "dns-opt": ("containers.dns_options",),
        "dns-search": ("containers.dns_search",),
        "exec-opt": ("containers.cgroup_driver",),
        "exec-root": ("exec_root",),
        "experimental": ("experimental",),
        "feature": ("features", "containers.cdi_directories"),
        "fixed-cidr": ("network.fixed_cidr",),
        "fixed-cidr-v6": ("network.fixed_cidr6",),
        "group": ("api.group", "api.group_given"),
        "host": ("api.hosts",),
        "host-gateway-ip": ("network.host_gateways",),
        "http-proxy": ("registry.proxies.http_proxy",),
        "https-proxy": ("registry.proxies.https_proxy",),
        "init": ("containers.init",),
        "init-path": ("containers.init_path",),
        "insecure-registry": ("registry.insecure_networks", "registry.insecure_hosts"),
        "icc": ("network.icc",),
        "ip": ("network.host_address",),
        "ip-forward": ("network.ip_forward",),
        "ip-masq": ("network.ip_masquerade",),
        "ip6tables": ("network.firewall6",),
        "ipv6": ("network.ipv6",),
        "iptables": ("network.firewall",),
        "label": ("labels",),
        "live-restore": ("live_restore",),
        "log-budget": ("containers.log_budget_bytes",),
        "log-driver": ("containers.log_driver",),
        "log-format": ("log.format",),
        "log-level": ("log.level",),
        "log-opt": ("containers.log_opts",),
        "max-concurrent-downloads": ("registry.max_downloads",),
        "max-concurrent-uploads": ("registry.max_uploads",),
        "max-download-attempts": ("registry.max_attempts",),
        "metrics-addr": ("metrics_address",),
        "observer-addr": ("observer",),
        "mtu": ("network.mtu",),
        "node-generic-resource": ("cluster.generic_resources",),
        "no-new-privileges": ("containers.no_new_privileges",),
        "no-proxy": ("registry.proxies.no_proxy",),
        "pidfile": ("pidfile",),
        "raw-logs": ("log.raw",),
        "registry-mirror": ("registry.mirrors",),
        "seccomp-profile": ("containers.seccomp_profile",),
        "scoped-socket": ("access.scoped_sockets",),
        "shutdown-timeout": ("shutdown_timeout_s",),
        "swarm-default-advertise-addr": ("cluster.advertise_addr",),
        "tls": ("api.tls",),
        "tlscacert": ("api.tls.ca_file",),
        "tlscert": ("api.tls.cert_file",),
        "tlskey": ("api.tls.key_file",),
        "tlsverify": ("api.tls.verify",),
        "userland-proxy": ("network.userland_proxy",),
    }
)
"""Which fields each option decides, by flag. Options that are in none have no effect."""


def rule_of(path: str) -> Rule:
    """The rule for a field, by its path in `Settings`."""
    found = path
    while found:
        if found in RULES:
            return RULES[found]
        found = found.rpartition(".")[0]
    return _daemon("")


def names_of(path: str) -> tuple[str, ...]:
    """What people call a field: the keys in daemon.json, or flags, that decide it."""
    flags = [flag for flag, fields in FIELDS.items() if path in fields]
    if not flags:  # a field of a section that is decided as a whole, or such a section
        flags = [
            flag
            for flag, fields in FIELDS.items()
            if any(path.startswith(f"{field}.") or field.startswith(f"{path}.") for field in fields)
        ]
    return tuple(OPTIONS[flag].key or f"--{flag}" for flag in flags) or (path,)
