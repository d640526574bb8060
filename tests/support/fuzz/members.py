"""What the members of bodies mean to the engine: for each a good value, then odd ones.

Nothing here may do harm to the machine that the tests run on: no folder or device of the host but
those that are everybody's, no name of a link that could be there, no address beyond loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

COMMAND: Final = ("sh", "-c", "trap 'exit 0' TERM INT; echo up; sleep 1000 & wait")
"""Stays until it is asked to go, and goes at once then."""

_OPTION: Final = "com.docker.network."


def _maps(name: str, *values: str) -> tuple[dict[str, str], ...]:
    return tuple({name: value} for value in values)


_CONTAINER: Final[Mapping[str, tuple[Any, ...]]] = {
    "Image": ("busybox", "busybox:latest", "nosuch:1"),
    "Cmd": (COMMAND, ("true",), ("sleep", "1000"), ("nosuch",), ()),
    "Command": (COMMAND, ("true",), ("nosuch",)),
    "Entrypoint": ((), ("sh", "-c"), ("nosuch",), ("",)),
    "Test": (("CMD", "true"), ("NONE",), ("CMD-SHELL", "exit 1"), ("NO",), ()),
    "User": ("", "0", "0:0", "nobody", "nosuch", "-1", "4294967296", "1:2:3"),
    "WorkingDir": ("/", "/tmp", "relative", "/nosuch/below", "/proc/self"),
    "Hostname": ("box", "a" * 64, "-x", "a.b"),
    "Domainname": ("x.y", "-", "a" * 300),
    "MacAddress": ("02:42:ac:11:00:02", "02:42", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"),
    "StopSignal": ("SIGTERM", "9", "KILL", "SIGNOSUCH", "65", "SIGRTMIN+3", "-1"),
    "StopTimeout": (0, 1, -1),
    "Env": (("A=b",), ("A",), ("=x",), ("",), ("PATH=",)),
    "Labels": ({"a": "b"}, {"": ""}, {"com.docker.x": "y"}, None),
    "Volumes": ({"/v": {}}, {"": {}}, {"/": {}}, {"v0:/v": {}}),
    "ExposedPorts": (
        *({"80/tcp": {}}, {"x": {}}, {"70000/tcp": {}}, {"1-9/udp": {}}, {"80/sctp": {}}),
        {"-1/tcp": {}},
    ),
    "Tty": (True, False),
    "ConsoleSize": ([24, 80], [0, 0], [1], [1, 2, 3], [-1, -1], [70000, 70000], None),
    "DetachKeys": ("ctrl-p", "x,y", "ctrl-", "ctrl-aa", ",", ""),
    "Detach": (True, False),
}

_HOST: Final[Mapping[str, tuple[Any, ...]]] = {
    "NetworkMode": ("none", "bridge", "host", "default", "container:c0", "n0", "x", "container:"),
    "PidMode": ("", "host", "container:c0", "container:", "private"),
    "IpcMode": ("", "none", "private", "shareable", "host", "container:c0", "x"),
    "UTSMode": ("", "host", "x"),
    "UsernsMode": ("", "host", "x"),
    "CgroupnsMode": ("", "host", "private", "x"),
    "Runtime": ("", "runc", "nosuch", "io.containerd.runc.v2"),
    "Isolation": ("", "default", "hyperv"),
    "CgroupParent": ("", "x", "../x", "/x/../..", "x.slice"),
    "Binds": (
        ("v0:/v",),
        ("v0:/v:ro,z",),
        ("/nosuch:/b:rshared",),
        (":",),
        ("v0:/",),
        ("a:b:c:d",),
    ),
    "Source": ("v0", "v1", "/nosuch/source", "busybox", ""),
    "Target": ("/t", "/", "relative", "/t/../..", "/proc", "/dev", "/etc/hosts", "/t:x"),
    "Destination": ("/t", "/"),
    "Propagation": ("private", "rshared", "x"),
    "Tmpfs": ({"/m": ""}, {"/m": "size=1k,mode=1777"}, {"m": "x"}, {"/": ""}, {"/m": "size=-1"}),
    "PortBindings": (
        *({"80/tcp": [{"HostPort": "0"}]}, {"80/tcp": [{"HostIp": "x"}]}, {"80/tcp": None}),
        *({"80/x": [{}]}, {"80/tcp": [None]}, {"80/tcp": [{"HostPort": "65536"}]}),
        {"80/tcp": [{"HostPort": "5-1"}]},
    ),
    "Links": (("c0:x",), ("c0",), ("nosuch:y",), (":",), ("",)),
    "VolumesFrom": (("c0",), ("c1:ro",), ("nosuch",), ("c0:x",), ("",)),
    "ExtraHosts": (("a:1.2.3.4",), ("a:host-gateway",), ("a",), ("a:x",), (":",)),
    "Dns": (("1.2.3.4",), ("x",), ("",)),
    "DnsOptions": (("ndots:1",), ("",)),
    "DnsSearch": (("x",), (".",), ("",)),
    "CapAdd": (("NET_ADMIN",), ("ALL",), ("CAP_NOSUCH",), ("",)),
    "CapDrop": (("ALL",), ("chown",), ("x",)),
    "SecurityOpt": (
        *(("no-new-privileges",), ("seccomp=unconfined",), ("seccomp={}",), ("seccomp=x",)),
        *(("label=disable",), ("apparmor=nosuch",), ("x",), ("systempaths=unconfined",), ("",)),
    ),
    "GroupAdd": (("0",), ("nosuch",), ("-1",), ("99999999999",)),
    "Sysctls": (
        *({"net.ipv4.ip_unprivileged_port_start": "0"}, {"nosuch.x": "1"}, {"net.x": "a"}),
        {"": ""},
    ),
    "Ulimits": (
        *([{"Name": "nofile", "Soft": 100, "Hard": 200}], [{"Name": "x", "Soft": 1, "Hard": 1}]),
        *([{"Name": "nofile", "Soft": 20, "Hard": 10}], [{"Name": "nofile", "Soft": -1}], [{}]),
    ),
    "Devices": (
        [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
        [{"PathOnHost": "/dev/nosuch"}],
        [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}],
        [{}],
    ),
    "DeviceCgroupRules": (("c 1:3 rwm",), ("x",), ("c 99999999999999999999:* r",)),
    "DeviceRequests": (
        *([{"Driver": "cdi", "DeviceIDs": ["x"]}], [{"Driver": "nvidia", "Count": -1}]),
        *([{"Capabilities": [["gpu"]]}], [None], [{}]),
    ),
    "BlkioWeightDevice": ([{"Path": "/dev/null", "Weight": 10}], [{"Weight": -1}], [None]),
    "StorageOpt": ({}, {"size": "1G"}, {"x": "y"}),
    "CpusetCpus": ("0", "0-1", "9999999999", "x", "0-", "1-0"),
    "CpusetMems": ("0", "99", "x"),
    "MaskedPaths": ((), None, ("/proc/x",), ("x",), ("",)),
    "ReadonlyPaths": ((), None, ("/proc/x",), ("x",)),
    "LogConfig": (
        {"Type": "json-file", "Config": {"max-size": "1k", "max-file": "2"}},
        {"Type": "json-file", "Config": {"max-size": "-1"}},
        {"Type": "json-file", "Config": {"tag": "{{.Nosuch}}"}},
        {"Type": "json-file", "Config": {"tag": "{{"}},
        {"Type": "json-file", "Config": {"mode": "non-blocking", "max-buffer-size": "x"}},
        {"Type": "json-file", "Config": None},
        {"Type": "local", "Config": {"x": "y"}},
        {"Type": "none"},
        {"Type": "nosuch"},
        {"Type": "syslog", "Config": {"syslog-address": "x://"}},
        {"Type": "gelf", "Config": {}},
    ),
    "RestartPolicy": (
        *({"Name": "always"}, {"Name": "on-failure", "MaximumRetryCount": 1}, {"Name": "x"}),
        *({"Name": "no", "MaximumRetryCount": 5}, {"MaximumRetryCount": -1}, {}, None),
    ),
}

_NETWORKS: Final[Mapping[str, tuple[Any, ...]]] = {
    "Driver": ("", "bridge", "local", "host", "null", "overlay", "macvlan", "ipvlan", "nosuch"),
    "Scope": ("local", "swarm", "x", ""),
    "Subnet": (
        *("10.213.7.0/24", "10.213.7.9/24", "10.213.7.0/31", "10.213.7.0/33", "fd00:213::/64"),
        *("0.0.0.0/0", "::/0", "x", "224.0.0.0/8"),
    ),
    "Gateway": ("10.213.7.1", "10.213.8.1", "fd00:213::1", "x", "0.0.0.0"),
    "IPRange": ("10.213.7.128/25", "10.213.8.0/24", "x"),
    "AuxAddress": ({"a": "10.213.7.2"}, {"a": "x"}, {"": ""}),
    "AuxiliaryAddresses": ({"a": "10.213.7.2"}, {"a": "x"}, {"": ""}),
    "Options": (
        {},
        *_maps(f"{_OPTION}driver.mtu", "1400", "x", "-1", "9999999999"),
        *_maps(f"{_OPTION}bridge.enable_icc", "x"),
        *_maps(f"{_OPTION}bridge.name", "a/b", "waytoolongforalink"),
        *_maps(f"{_OPTION}bridge.gateway_mode_ipv4", "x"),
        *_maps(f"{_OPTION}bridge.host_binding_ipv4", "x"),
        *_maps(f"{_OPTION}container_iface_prefix", "a/b"),
        {"parent": "nosuch0.1"},
        {"vlan": "5000"},
    ),
    "IPv4Address": ("10.213.7.5", "10.213.9.5", "x", "::1"),
    "IPv6Address": ("fd00:213::5", "x", "1.2.3.4"),
    "LinkLocalIPs": (("169.254.1.1",), ("x",)),
    "Aliases": (("a",), ("",), ("a" * 300,)),
    "EndpointsConfig": (
        *({}, {"n0": {}}, {"n0": None, "n1": None}, {"bridge": {}}, {"nosuch": None}, {"": {}}),
        *({"none": {}}, {"n0": {"MacAddress": "x"}}, {"n0": {"DriverOpts": {"x": "y"}}}),
        *({"n0": {"IPAMConfig": {"IPv4Address": "10.213.7.5"}}}, {"host": {}, "none": {}}),
    ),
    "Container": ("c0", "c1", "nosuch", ""),
    "Network": ("n0", "n1"),
}

_OTHERS: Final[Mapping[str, tuple[Any, ...]]] = {
    "Name": ("c1", "n1", "v1", "s1", "/c2", "x y", "-x", "a", "bridge", "host"),
    "Type": ("volume", "bind", "tmpfs", "image", "npipe", "json-file", "local", "none", "x"),
    "VolumeDriver": ("", "local", "nosuch"),
    "DriverOpts": (
        *({}, {"type": "tmpfs", "device": "tmpfs"}, {"type": "tmpfs"}, {"x": "y"}),
        *({"type": "nfs", "o": "addr=x"}, {"size": "1"}, {"o": ""}),
    ),
    "Platform": ("linux/amd64", "linux", "x/y/z/w", "windows/amd64"),
    "serveraddress": ("127.0.0.1:1", "x y", "http://", "127.0.0.1:1/a?b", "["),
}

_SWARM: Final[Mapping[str, tuple[Any, ...]]] = {
    "Data": ("dGV4dA==", "x", "", "dGV4dA", "////", "A" * 700_000),
    "Mode": (
        *({"Replicated": {"Replicas": 1}}, {"Replicated": {"Replicas": -1}}, {"Global": {}}),
        *({"Replicated": {}, "Global": {}}, {"GlobalJob": {}}, {}, "vip", "dnsrr", "host"),
        {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
    ),
    "Constraints": (("node.role==manager",), ("x",), ("node.x==y",), ("==",), ("node.labels.a!=",)),
    "Ports": (
        *([{"TargetPort": 80}], [{"TargetPort": 0}], [{"TargetPort": 70000}]),
        *([{"PublishMode": "x"}], [{}], [None]),
    ),
    "Replicas": (1, 0, 2),
    "Availability": ("active", "pause", "drain", "x"),
    "Role": ("manager", "worker", "x"),
    "Condition": ("none", "on-failure", "any", "x"),
    "FailureAction": ("continue", "pause", "rollback", "x"),
    "Order": ("stop-first", "start-first", "x"),
    "Parallelism": (0, 1, 2),
    "MaxFailureRatio": (0, 0.5, 1, 2, -1),
    "ListenAddr": ("127.0.0.1:1", "x"),
    "AdvertiseAddr": ("127.0.0.1", "x"),
    "RemoteAddrs": (("127.0.0.1:1",), ("x",), ()),
    "JoinToken": ("SWMTKN-1-x-y", "x", ""),
    "DataPathAddr": ("127.0.0.1", "x"),
    "SubnetSize": (24, 29, 31, -1),
    "DefaultAddrPool": (("10.213.0.0/16",), ("x",), ()),
    "NodeCertExpiry": (7776000000000000, 1, 0),
    "ExternalCAs": ([{"Protocol": "cfssl", "URL": "https://127.0.0.1:1/"}], [{}], [None]),
    "TemplateDriver": ({"Name": "golang"}, {"Name": "x"}),
}

MEMBERS: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {**_CONTAINER, **_HOST, **_NETWORKS, **_OTHERS, **_SWARM}
)
"""By the member's name: what is good stands first."""
