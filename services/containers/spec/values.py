"""The values that an OCI spec is made from; what had to be read or resolved is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from services.containers.apparmor import DEFAULT_PROFILE
from services.containers.config import ContainerConfig, HostConfig, Mount, Ulimit
from services.system import HostFacts

# OCI runtime spec documents are JSON objects; their schema is the runtime's, not ours.
Json = dict[str, Any]

MountType = Literal["bind", "volume", "tmpfs", "image", "cluster", "npipe"]

DEFAULT_PROPAGATION: Final = "rprivate"
DEFAULT_SHM_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """One mount of a container: what MountPoints is in dockerd's inspect answer.

    `source` is a host path (bind), or "" until a volume is resolved; `name` and `driver` belong to
    volumes. `mode` is the text of -v's third part. `tmpfs_data` is the comma list of a tmpfs.
    `create_source`: a missing source directory is made by whoever starts the container.
    `is_anonymous`: the volume was made for this mount, and goes with the container if asked.
    `spec` is the --mount that it came from, if any.
    """

    type: MountType
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    rw: bool = True
    mode: str = ""
    propagation: str = ""
    copy_data: bool = False
    create_source: bool = False
    recursive: bool = True
    read_only_recursive: bool | None = None  # None: where kernel and runtime can; True: required
    tmpfs_data: str = ""
    subpath: str = ""
    is_anonymous: bool = False
    spec: Mount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedUser:
    """A user as numbers. `groups` are the supplementary ones, without `gid`."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """Host paths of the files that the engine writes for a container. "" leaves the image's."""

    hostname: str = ""
    hosts: str = ""
    resolv_conf: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePaths:
    """Namespaces to join by path; "" makes a new one, unless the mode says host."""

    network: str = ""
    ipc: str = ""
    pid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A device file of the host and where it shows up in the container. `type` is "c" or "b"."""

    path: str
    type: str
    major: int
    minor: int
    mode: int = 0o660
    uid: int = 0
    gid: int = 0
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDevices:
    """What `read_host_devices` found for one HostConfig.

    `mapped` are those of --device; `all` is the host's /dev, for privileged containers;
    `block_numbers` maps the paths of blkio limits to (major, minor).
    """

    mapped: tuple[DeviceNode, ...] = ()
    all: tuple[DeviceNode, ...] = ()
    block_numbers: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecDefaults:
    """The daemon's settings that reach into a container.

    `seccomp_profile` is "builtin", "unconfined" or the text of a JSON profile. `apparmor_profile`
    is used where the kernel has AppArmor. `runtimes` are the names that HostConfig.Runtime may
    take. `shm_size_bytes` and the modes fill in what a request leaves out.
    `cdi`: requests for devices may name CDI's. `recursive_read_only`: the runtime knows the mount
    option "rro" (runc does since 1.1).
    """

    runtimes: frozenset[str] = frozenset(("runc", "io.containerd.runc.v2"))
    default_runtime: str = "runc"
    init: bool = False
    init_path: str = "/usr/bin/docker-init"
    seccomp_profile: str = "builtin"
    apparmor_profile: str = DEFAULT_PROFILE
    no_new_privileges: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_driver: Literal["cgroupfs", "systemd"] = "cgroupfs"
    cgroup_parent: str = ""
    shm_size_bytes: int = DEFAULT_SHM_BYTES
    ipc_mode: str = "private"
    cgroupns_mode: str = ""  # "" is private on cgroup v2, host on v1
    data_root: str = ""
    recursive_read_only: bool = True
    cdi: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecInputs:
    """All that `build_spec` needs. `host_config` has been through `adapt_host_config`.

    `config` is merged with the image's; `args` is entrypoint and command together. `shm_path` is
    the host directory to show as /dev/shm for IPC modes shareable, host and container.
    `link_env` are the variables of legacy links.
    """

    container_id: str
    args: tuple[str, ...]
    config: ContainerConfig
    host_config: HostConfig
    facts: HostFacts
    user: ResolvedUser = ResolvedUser()
    mounts: tuple[MountPoint, ...] = ()
    files: NetworkFiles = NetworkFiles()
    namespaces: NamespacePaths = NamespacePaths()
    devices: HostDevices = HostDevices()
    shm_path: str = ""
    link_env: tuple[str, ...] = ()
    defaults: SpecDefaults = SpecDefaults()
    rootfs_path: str = "rootfs"
