"""What the engine knows about its host: read once, a value from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from services.system.capabilities import CAPABILITY_NAMES

CgroupVersion = Literal["1", "2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupFacts:
    """Which cgroup hierarchy containers get, and which limits it can enforce.

    A machine with both hierarchies counts as version 1, since its controllers are bound there.
    `mountpoints` maps a controller ("memory", "cpu", ...) to where it is mounted; with version 2
    all map to the one hierarchy. `cpus` and `mems` are in the kernel's list format ("0-3,8").
    """

    version: CgroupVersion = "2"
    mountpoints: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    memory_limit: bool = True
    swap_limit: bool = True
    memory_reservation: bool = True
    memory_swappiness: bool = True
    oom_kill_disable: bool = True
    kernel_memory: bool = True
    kernel_memory_tcp: bool = True
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = True
    cpuset: bool = True
    cpus: str = ""
    mems: str = ""
    pids_limit: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle_read_bps: bool = True
    blkio_throttle_write_bps: bool = True
    blkio_throttle_read_iops: bool = True
    blkio_throttle_write_iops: bool = True
    devices: bool = True
    namespaces: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RlimitPair:
    """Soft and hard limit; `UNLIMITED` (2**64 - 1) is no limit, as the OCI runtime spec has it."""

    soft: int
    hard: int


UNLIMITED = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The host as `read_host_facts` found it; the defaults are a capable cgroup v2 host for tests.

    `architecture` is the kernel's name, as docker shows it ("x86_64"); `oci_architecture` is
    OCI's ("amd64"). `capabilities` are those in this process's effective set: a container can
    get no others. `rlimits` are our own, by the kernel's name without RLIMIT_ ("NOFILE").
    `apparmor`: the kernel has it switched on, and the program that loads profiles is here.
    """

    cgroup: CgroupFacts = CgroupFacts()
    kernel_version: str = "6.1.0"
    operating_system: str = "Linux"
    os_version: str = ""
    architecture: str = "x86_64"
    oci_architecture: str = "amd64"
    hostname: str = "localhost"
    memory_total_bytes: int = 0
    ncpu: int = 1
    capabilities: tuple[str, ...] = CAPABILITY_NAMES
    rlimits: Mapping[str, RlimitPair] = field(default_factory=lambda: MappingProxyType({}))
    oom_score_adj: int = 0
    seccomp: bool = True
    x32: bool = True  # an x86_64 kernel that also runs programs of the x32 ABI
    apparmor: bool = False
    selinux: bool = False
    user_namespaces: bool = True
    systemd: bool = False
    in_user_namespace: bool = False
    ipv4_forwarding: bool = True
    sysctl_ping_group_range: bool = True
    sysctl_unprivileged_port_start: bool = True
    thermal_throttle_paths: tuple[str, ...] = ()
    boot_id: str = ""

    @property
    def has_sys_resource(self) -> bool:
        """Whether we may raise hard limits and lower OOM scores."""
        return "CAP_SYS_RESOURCE" in self.capabilities

    @property
    def kernel(self) -> tuple[int, int]:
        """Major and minor version, (0, 0) when the release has another shape."""
        numbers = self.kernel_version.split("-", 1)[0].split(".")
        try:
            return int(numbers[0]), int(numbers[1])
        except (IndexError, ValueError):
            return 0, 0
