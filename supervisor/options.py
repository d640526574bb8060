"""dockerd's options and ours as one table: each with flag, key in daemon.json, kind and default.

The command line, the configuration file and the compatibility table are read from it. An option
with a sentence in `refused` is known but cannot take effect yet: any value but the default is
refused at start with that sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from .values import AddressPool, IpAddress, Runtime, Ulimit

Value = (
    bool
    | int
    | str
    | IpAddress
    | tuple[str, ...]
    | tuple[Ulimit, ...]
    | tuple[Runtime, ...]
    | tuple[AddressPool, ...]
    | tuple[tuple[str, str], ...]
    | tuple[tuple[str, str, str], ...]
    | None
)


class Kind(Enum):
    """What an option's value is; up to the colon it is the word that `--help` shows for it."""

    STRING = "string"
    LIST = "list"
    LABELS = "list:labels"
    DOMAINS = "list:domains"
    IPS = "list:addresses"
    HOSTS = "list:hosts"
    INT = "int"
    BOOL = ""
    BYTES = "bytes"
    IP = "ip"
    MAP = "map"
    MAPMAP = "mapmap"
    ULIMITS = "ulimit"
    RUNTIMES = "runtime"
    POOLS = "pool-options"
    NRI = "nri-opts"
    SCOPES = "json"

    @property
    def word(self) -> str:
        """The kind as dockerd's `--help` names it."""
        return self.value.partition(":")[0]

    @property
    def is_repeatable(self) -> bool:
        """Whether the flag may be given several times, each adding to the value."""
        return self not in {Kind.STRING, Kind.INT, Kind.BOOL, Kind.BYTES, Kind.IP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: dockerd's, or with `is_ours` one that dockerd does not have."""

    flag: str  # without the dashes
    kind: Kind
    help: str
    short: str = ""
    key: str = ""  # in daemon.json; empty: a flag only
    default: Value = None
    refused: str = ""  # why it cannot take effect yet; empty: it works
    is_ours: bool = False  # dockerd has no such option


def _table(*rows: Option) -> Mapping[str, Option]:
    return MappingProxyType({row.flag: row for row in rows})


def _option(
    flag: str,
    kind: Kind,
    help_text: str,
    *,
    default: Value = None,
    short: str = "",
    key: str | None = None,
    refused: str = "",
    is_ours: bool = False,
) -> Option:
    if default is None:
        match kind:
            case Kind.STRING:
                default = ""
            case Kind.INT:
                default = 0
            case Kind.BOOL:
                default = False
            case Kind.IP:
                pass
            case _:
                default = ()
    return Option(
        flag=flag,
        kind=kind,
        help=help_text,
        short=short,
        key=flag if key is None else key,
        default=default,
        refused=refused,
        is_ours=is_ours,
    )


_PROXY = "the userland proxy is a part of the engine and not a program of its own"
_CONTROL_PLANE = "managers tell nodes their networks themselves: there is no such plane"
OPTIONS: Final = _table(
    _option("add-runtime", Kind.RUNTIMES, "Register a further OCI runtime", key="runtimes"),
    _option(
        "allow-direct-routing",
        Kind.BOOL,
        "Let other machines reach published ports on the containers' own addresses",
    ),
    _option(
        "audit-log",
        Kind.STRING,
        "File for a record of each request that changes something",
        is_ours=True,
    ),
    _option(
        "authorization-plugin",
        Kind.LIST,
        "Authorization plugins to ask, in this order",
        key="authorization-plugins",
    ),
    _option("bip", Kind.STRING, "IPv4 address of the default bridge"),
    _option("bip6", Kind.STRING, "IPv6 address of the default bridge"),
    _option("bridge", Kind.STRING, "Bridge to attach containers to; none: no bridge", short="b"),
    _option(
        "bridge-accept-fwmark",
        Kind.STRING,
        "Accept packets with this firewall mark in bridge networks",
    ),
    _option(
        "cdi-spec-dir",
        Kind.LIST,
        'Folders with CDI device specifications (default /etc/cdi, /var/run/cdi; "": none)',
        key="cdi-spec-dirs",
    ),
    _option("cgroup-parent", Kind.STRING, "Parent cgroup of all containers"),
    _option(
        "config-file",
        Kind.STRING,
        "Configuration file",
        default="/etc/wharfinger/daemon.json",
        key="",
    ),
    _option("containerd", Kind.STRING, "Socket of a containerd that is running already"),
    _option("containerd-namespace", Kind.STRING, "Namespace in containerd", default="moby"),
    _option(
        "containerd-plugins-namespace",
        Kind.STRING,
        "Namespace in containerd for plugins",
        default="plugins.moby",
        refused="plugins in containers are not supported yet",
    ),
    _option("cpu-rt-period", Kind.INT, "Real-time period of the parent cgroup, in microseconds"),
    _option("cpu-rt-runtime", Kind.INT, "Real-time runtime of the parent cgroup, in microseconds"),
    _option(
        "cri-containerd",
        Kind.BOOL,
        "Start containerd with its CRI plugin",
        refused="the CRI plugin of the supervised containerd stays off",
    ),
    _option("data-root", Kind.STRING, "Folder for lasting state", default="/var/lib/wharfinger"),
    _option("debug", Kind.BOOL, "Debug mode", short="D"),
    _option(
        "default-address-pool",
        Kind.POOLS,
        "Address pools that new networks take their subnets from",
        key="default-address-pools",
    ),
    _option(
        "default-cgroupns-mode",
        Kind.STRING,
        'Default cgroup namespace of containers ("host"|"private"; default by cgroup version)',
    ),
    _option("default-gateway", Kind.IP, "IPv4 gateway of the default bridge"),
    _option("default-gateway-v6", Kind.IP, "IPv6 gateway of the default bridge"),
    _option(
        "default-ipc-mode",
        Kind.STRING,
        'Default IPC mode of containers ("shareable"|"private")',
        default="private",
    ),
    _option(
        "default-network-opt",
        Kind.MAPMAP,
        "Default options of new networks",
        key="default-network-opts",
    ),
    _option("default-runtime", Kind.STRING, "Default OCI runtime of containers", default="runc"),
    _option(
        "default-shm-size",
        Kind.BYTES,
        "Default size of /dev/shm in containers",
        default=64 * 1024 * 1024,
    ),
    _option(
        "default-stop-timeout",
        Kind.INT,
        "Default seconds that a container gets to stop",
        default=10,
    ),
    _option("default-ulimit", Kind.ULIMITS, "Default ulimits of containers", key="default-ulimits"),
    _option("dns", Kind.IPS, "DNS servers for containers"),
    _option("dns-opt", Kind.LIST, "DNS options for containers", key="dns-opts"),
    _option("dns-search", Kind.DOMAINS, "DNS search domains for containers"),
    _option("exec-opt", Kind.LIST, "Runtime options (native.cgroupdriver=...)", key="exec-opts"),
    _option("exec-root", Kind.STRING, "Folder for run-time state", default="/run/wharfinger"),
    _option("experimental", Kind.BOOL, "Experimental features"),
    _option("feature", Kind.MAP, "Switch a feature on or off", key="features"),
    _option("firewall-backend", Kind.STRING, "Firewall to use (nftables)"),
    _option("fixed-cidr", Kind.STRING, "IPv4 range that the default bridge hands out"),
    _option("fixed-cidr-v6", Kind.STRING, "IPv6 range that the default bridge hands out"),
    _option("group", Kind.STRING, "Group of the unix sockets", default="docker", short="G"),
    _option("help", Kind.BOOL, "Show this text and end", key=""),
    _option(
        "host",
        Kind.HOSTS,
        "Where to listen (default unix:///var/run/docker.sock)",
        short="H",
        key="hosts",
    ),
    _option(
        "host-gateway-ip",
        Kind.IPS,
        "What host-gateway means in --add-host (default: the address of the default bridge)",
        key="host-gateway-ips",
    ),
    _option("http-proxy", Kind.STRING, "Proxy for outgoing HTTP"),
    _option("https-proxy", Kind.STRING, "Proxy for outgoing HTTPS"),
    _option(
        "icc",
        Kind.BOOL,
        "Let containers on the default bridge reach each other",
        default=True,
    ),
    _option("init", Kind.BOOL, "Run an init in every container"),
    _option("init-path", Kind.STRING, "Path of that init (default: tini)"),
    _option(
        "insecure-registry",
        Kind.LIST,
        "Registries to speak to without TLS",
        key="insecure-registries",
    ),
    _option("ip", Kind.IP, "Host address of published ports"),
    _option("ip-forward", Kind.BOOL, "Switch IP forwarding on", default=True),
    _option("ip-forward-no-drop", Kind.BOOL, "Leave the policy of the FORWARD chain alone"),
    _option("ip-masq", Kind.BOOL, "Masquerade the default bridge", default=True),
    _option("ip6tables", Kind.BOOL, "Manage firewall rules for IPv6", default=True),
    _option("iptables", Kind.BOOL, "Manage firewall rules for IPv4", default=True),
    _option("ipv6", Kind.BOOL, "IPv6 on the default bridge"),
    _option("label", Kind.LABELS, "Labels of this engine (key=value)", key="labels"),
    _option("live-restore", Kind.BOOL, "Leave containers running when the engine stops"),
    _option(
        "log-budget",
        Kind.BYTES,
        "Room that all containers' logs together may take (0: no bound)",
        default=0,
        is_ours=True,
    ),
    _option("log-driver", Kind.STRING, "Default log driver of containers", default="json-file"),
    _option("log-format", Kind.STRING, 'Format of the log ("text"|"json")', default="text"),
    _option(
        "log-level",
        Kind.STRING,
        'Level of the log ("debug"|"info"|"warn"|"error"|"fatal")',
        default="info",
        short="l",
    ),
    _option("log-opt", Kind.MAP, "Default log options of containers", key="log-opts"),
    _option("max-concurrent-downloads", Kind.INT, "Downloads at a time", default=3),
    _option("max-concurrent-uploads", Kind.INT, "Uploads at a time", default=5),
    _option("max-download-attempts", Kind.INT, "Attempts at a download", default=5),
    _option("metrics-addr", Kind.STRING, "Address and port of the metrics server"),
    _option("mtu", Kind.INT, "MTU of the default bridge", default=1500),
    _option(
        "network-control-plane-mtu",
        Kind.INT,
        "MTU of the network control plane",
        default=1500,
        refused=_CONTROL_PLANE,
    ),
    _option("no-new-privileges", Kind.BOOL, "Set no-new-privileges on new containers"),
    _option("no-proxy", Kind.STRING, "Hosts to reach without a proxy"),
    _option(
        "node-generic-resource",
        Kind.LIST,
        "Resources to announce to a swarm",
        key="node-generic-resources",
    ),
    _option(
        "nri-opts",
        Kind.NRI,
        "Node Resource Interface",
        refused="the Node Resource Interface is not supported yet",
    ),
    _option(
        "observer-addr",
        Kind.STRING,
        "Loopback address and port of the observer's page",
        is_ours=True,
    ),
    _option("pidfile", Kind.STRING, "PID file", default="/run/wharfinger.pid", short="p"),
    _option("raw-logs", Kind.BOOL, "Full time stamps without colour"),
    _option(
        "registry-mirror",
        Kind.LIST,
        "Registry mirrors",
        key="registry-mirrors",
    ),
    _option(
        "rootless",
        Kind.BOOL,
        "Rootless mode",
        refused="rootless mode is not supported, the engine must run as root",
    ),
    _option(
        "seccomp-profile",
        Kind.STRING,
        'Default seccomp profile: a path, "builtin" or "unconfined"',
        default="builtin",
    ),
    _option(
        "scoped-socket",
        Kind.SCOPES,
        "Further unix socket with lesser rights, as JSON",
        key="scoped-sockets",
        is_ours=True,
    ),
    _option("selinux-enabled", Kind.BOOL, "SELinux", refused="SELinux is not supported yet"),
    _option("shutdown-timeout", Kind.INT, "Seconds that all containers get to stop", default=15),
    _option("storage-driver", Kind.STRING, "Storage driver (overlayfs)", short="s"),
    _option(
        "storage-opt",
        Kind.LIST,
        "Options of the storage driver",
        key="storage-opts",
        refused="the storage driver has no options",
    ),
    _option(
        "swarm-default-advertise-addr",
        Kind.STRING,
        "Address or interface to announce to a swarm",
    ),
    _option("tls", Kind.BOOL, "Use TLS (implied by --tlsverify)"),
    _option("tlscacert", Kind.STRING, "CA that clients' certificates must come from"),
    _option("tlscert", Kind.STRING, "TLS certificate"),
    _option("tlskey", Kind.STRING, "TLS key"),
    _option("tlsverify", Kind.BOOL, "Use TLS and demand a certificate of clients"),
    _option("userland-proxy", Kind.BOOL, "Proxy for published ports on loopback", default=True),
    _option("userland-proxy-path", Kind.STRING, "Path of that proxy's program", refused=_PROXY),
    _option(
        "userns-remap",
        Kind.STRING,
        "User for user namespaces",
        refused="user namespaces are not supported yet",
    ),
    _option("validate", Kind.BOOL, "Check the configuration and end", key=""),
    _option("version", Kind.BOOL, "Show the version and end", short="v", key=""),
)

# Keys of daemon.json that have no flag: what dockerd skips, and what would have an effect there.
IGNORED_KEYS: Final = frozenset({"allow-nondistributable-artifacts", "deprecated-key-path"})
REFUSED_KEYS: Final = MappingProxyType({"builder": "building images is not supported yet"})
