"""dockerd's options and ours as one table: each with flag, key in daemon.json, kind and default.

The command line, the configuration file and the compatibility table are read from it. An option
with a sentence in `refused` is known but cannot take effect yet: any value but the default is
refused at start with that sentence.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from .option import Kind, option, table

_PROXY = "the userland proxy is a part of the engine and not a program of its own"
_CONTROL_PLANE = "managers tell nodes their networks themselves: there is no such plane"
OPTIONS: Final = table(
    option("add-runtime", Kind.RUNTIMES, "Register a further OCI runtime", key="runtimes"),
    option(
        "allow-direct-routing",
        Kind.BOOL,
        "Let other machines reach published ports on the containers' own addresses",
    ),
    option(
        "audit-log",
        Kind.STRING,
        "File for a record of each request that changes something",
        is_ours=True,
    ),
    option(
        "authorization-plugin",
        Kind.LIST,
        "Authorization plugins to ask, in this order",
        key="authorization-plugins",
    ),
    option("bip", Kind.STRING, "IPv4 address of the default bridge"),
    option("bip6", Kind.STRING, "IPv6 address of the default bridge"),
    option("bridge", Kind.STRING, "Bridge to attach containers to; none: no bridge", short="b"),
    option(
        "bridge-accept-fwmark",
        Kind.STRING,
        "Accept packets with this firewall mark in bridge networks",
    ),
    option(
        "cdi-spec-dir",
        Kind.LIST,
        'Folders with CDI device specifications (default /etc/cdi, /var/run/cdi; "": none)',
        key="cdi-spec-dirs",
    ),
    option("cgroup-parent", Kind.STRING, "Parent cgroup of all containers"),
    option(
        "config-file",
        Kind.STRING,
        "Configuration file",
        default="/etc/wharfinger/daemon.json",
        key="",
    ),
    option("containerd", Kind.STRING, "Socket of a containerd that is running already"),
    option("containerd-namespace", Kind.STRING, "Namespace in containerd", default="moby"),
    option(
        "containerd-plugins-namespace",
        Kind.STRING,
        "Namespace in containerd for plugins",
        default="plugins.moby",
        refused="plugins in containers are not supported yet",
    ),
    option("cpu-rt-period", Kind.INT, "Real-time period of the parent cgroup, in microseconds"),
    option("cpu-rt-runtime", Kind.INT, "Real-time runtime of the parent cgroup, in microseconds"),
    option(
        "cri-containerd",
        Kind.BOOL,
        "Start containerd with its CRI plugin",
        refused="the CRI plugin of the supervised containerd stays off",
    ),
    option("data-root", Kind.STRING, "Folder for lasting state", default="/var/lib/wharfinger"),
    option("debug", Kind.BOOL, "Debug mode", short="D"),
    option(
        "default-address-pool",
        Kind.POOLS,
        "Address pools that new networks take their subnets from",
        key="default-address-pools",
    ),
    option(
        "default-cgroupns-mode",
        Kind.STRING,
        'Default cgroup namespace of containers ("host"|"private"; default by cgroup version)',
    ),
    option("default-gateway", Kind.IP, "IPv4 gateway of the default bridge"),
    option("default-gateway-v6", Kind.IP, "IPv6 gateway of the default bridge"),
    option(
        "default-ipc-mode",
        Kind.STRING,
        'Default IPC mode of containers ("shareable"|"private")',
        default="private",
    ),
    option(
        "default-network-opt",
        Kind.MAPMAP,
        "Default options of new networks",
        key="default-network-opts",
    ),
    option("default-runtime", Kind.STRING, "Default OCI runtime of containers", default="runc"),
    option(
        "default-shm-size",
        Kind.BYTES,
        "Default size of /dev/shm in containers",
        default=64 * 1024 * 1024,
    ),
    option(
        "default-stop-timeout",
        Kind.INT,
        "Default seconds that a container gets to stop",
        default=10,
    ),
    option("default-ulimit", Kind.ULIMITS, "Default ulimits of containers", key="default-ulimits"),
    option("dns", Kind.IPS, "DNS servers for containers"),
    option("dns-opt", Kind.LIST, "DNS options for containers", key="dns-opts"),
    option("dns-search", Kind.DOMAINS, "DNS search domains for containers"),
    option("exec-opt", Kind.LIST, "Runtime options (native.cgroupdriver=...)", key="exec-opts"),
    option("exec-root", Kind.STRING, "Folder for run-time state", default="/run/wharfinger"),
    option("experimental", Kind.BOOL, "Experimental features"),
    option("feature", Kind.MAP, "Switch a feature on or off", key="features"),
    option("firewall-backend", Kind.STRING, "Firewall to use (nftables)"),
    option("fixed-cidr", Kind.STRING, "IPv4 range that the default bridge hands out"),
    option("fixed-cidr-v6", Kind.STRING, "IPv6 range that the default bridge hands out"),
    option("group", Kind.STRING, "Group of the unix sockets", default="docker", short="G"),
    option("help", Kind.BOOL, "Show this text and end", key=""),
    option(
        "host",
        Kind.HOSTS,
        "Where to listen (default unix:///var/run/docker.sock)",
        short="H",
        key="hosts",
    ),
    option(
        "host-gateway-ip",
        Kind.IPS,
        "What host-gateway means in --add-host (default: the address of the default bridge)",
        key="host-gateway-ips",
    ),
    option("http-proxy", Kind.STRING, "Proxy for outgoing HTTP"),
    option("https-proxy", Kind.STRING, "Proxy for outgoing HTTPS"),
    option(
        "icc",
        Kind.BOOL,
        "Let containers on the default bridge reach each other",
        default=True,
    ),
    option("init", Kind.BOOL, "Run an init in every container"),
    option("init-path", Kind.STRING, "Path of that init (default: tini)"),
    option(
        "insecure-registry",
        Kind.LIST,
        "Registries to speak to without TLS",
        key="insecure-registries",
    ),
    option("ip", Kind.IP, "Host address of published ports"),
    option("ip-forward", Kind.BOOL, "Switch IP forwarding on", default=True),
    option("ip-forward-no-drop", Kind.BOOL, "Leave the policy of the FORWARD chain alone"),
    option("ip-masq", Kind.BOOL, "Masquerade the default bridge", default=True),
    option("ip6tables", Kind.BOOL, "Manage firewall rules for IPv6", default=True),
    option("iptables", Kind.BOOL, "Manage firewall rules for IPv4", default=True),
    option("ipv6", Kind.BOOL, "IPv6 on the default bridge"),
    option("label", Kind.LABELS, "Labels of this engine (key=value)", key="labels"),
    option("live-restore", Kind.BOOL, "Leave containers running when the engine stops"),
    option(
        "log-budget",
        Kind.BYTES,
        "Room that all containers' logs together may take (0: no bound)",
        default=0,
        is_ours=True,
    ),
    option("log-driver", Kind.STRING, "Default log driver of containers", default="json-file"),
    option("log-format", Kind.STRING, 'Format of the log ("text"|"json")', default="text"),
    option(
        "log-level",
        Kind.STRING,
        'Level of the log ("debug"|"info"|"warn"|"error"|"fatal")',
        default="info",
        short="l",
    ),
    option("log-opt", Kind.MAP, "Default log options of containers", key="log-opts"),
    option("max-concurrent-downloads", Kind.INT, "Downloads at a time", default=3),
    option("max-concurrent-uploads", Kind.INT, "Uploads at a time", default=5),
    option("max-download-attempts", Kind.INT, "Attempts at a download", default=5),
    option("metrics-addr", Kind.STRING, "Address and port of the metrics server"),
    option("mtu", Kind.INT, "MTU of the default bridge", default=1500),
    option(
        "network-control-plane-mtu",
        Kind.INT,
        "MTU of the network control plane",
        default=1500,
        refused=_CONTROL_PLANE,
    ),
    option("no-new-privileges", Kind.BOOL, "Set no-new-privileges on new containers"),
    option("no-proxy", Kind.STRING, "Hosts to reach without a proxy"),
    option(
        "node-generic-resource",
        Kind.LIST,
        "Resources to announce to a swarm",
        key="node-generic-resources",
    ),
    option(
        "nri-opts",
        Kind.NRI,
        "Node Resource Interface",
        refused="the Node Resource Interface is not supported yet",
    ),
    option(
        "observer-addr",
        Kind.STRING,
        "Loopback address and port of the observer's page",
        is_ours=True,
    ),
    option("pidfile", Kind.STRING, "PID file", default="/run/wharfinger.pid", short="p"),
    option("raw-logs", Kind.BOOL, "Full time stamps without colour"),
    option(
        "registry-mirror",
        Kind.LIST,
        "Registry mirrors",
        key="registry-mirrors",
    ),
    option(
        "rootless",
        Kind.BOOL,
        "Rootless mode",
        refused="rootless mode is not supported, the engine must run as root",
    ),
    option(
        "seccomp-profile",
        Kind.STRING,
        'Default seccomp profile: a path, "builtin" or "unconfined"',
        default="builtin",
    ),
    option(
        "scoped-socket",
        Kind.SCOPES,
        "Further unix socket with lesser rights, as JSON",
        key="scoped-sockets",
        is_ours=True,
    ),
    option("selinux-enabled", Kind.BOOL, "SELinux", refused="SELinux is not supported yet"),
    option("shutdown-timeout", Kind.INT, "Seconds that all containers get to stop", default=15),
    option("storage-driver", Kind.STRING, "Storage driver (overlayfs)", short="s"),
    option(
        "storage-opt",
        Kind.LIST,
        "Options of the storage driver",
        key="storage-opts",
        refused="the storage driver has no options",
    ),
    option(
        "swarm-default-advertise-addr",
        Kind.STRING,
        "Address or interface to announce to a swarm",
    ),
    option("tls", Kind.BOOL, "Use TLS (implied by --tlsverify)"),
    option("tlscacert", Kind.STRING, "CA that clients' certificates must come from"),
    option("tlscert", Kind.STRING, "TLS certificate"),
    option("tlskey", Kind.STRING, "TLS key"),
    option("tlsverify", Kind.BOOL, "Use TLS and demand a certificate of clients"),
    option("userland-proxy", Kind.BOOL, "Proxy for published ports on loopback", default=True),
    option("userland-proxy-path", Kind.STRING, "Path of that proxy's program", refused=_PROXY),
    option(
        "userns-remap",
        Kind.STRING,
        "User for user namespaces",
        refused="user namespaces are not supported yet",
    ),
    option("validate", Kind.BOOL, "Check the configuration and end", key=""),
    option("version", Kind.BOOL, "Show the version and end", short="v", key=""),
)

# Keys of daemon.json that have no flag: what dockerd skips, and what would have an effect there.
IGNORED_KEYS: Final = frozenset({"allow-nondistributable-artifacts", "deprecated-key-path"})
REFUSED_KEYS: Final = MappingProxyType(
    {"builder": "it is for BuildKit; docker builder prune removes build steps"}
)
