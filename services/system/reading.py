"""Reading HostFacts. Every function here blocks: call `read_host_facts` in a thread."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from services.system.capabilities import capabilities_in_mask
from services.system.cgroups import read_cgroup_facts
from services.system.facts import UNLIMITED, HostFacts, RlimitPair

_OCI_ARCHITECTURES: Final = MappingProxyType(
    {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386",
     "i386": "386", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64",
     "mips64": "mips64"}
)  # fmt: skip
_PR_GET_SECCOMP: Final = 21
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_X32_GETPID: Final = 0x40000000 | 39  # arch/x86/entry/syscalls/syscall_64.tbl


def read_host_facts(root: Path = Path("/")) -> HostFacts:
    """The host as it is now. `root` is where /proc, /sys and /etc are looked for (tests).

    What cannot be read counts as absent; nothing is raised for it.
    """
    machine = platform.machine()
    release = _os_release(root)
    status = _status(root)
    return HostFacts(
        cgroup=read_cgroup_facts(root),
        kernel_version=platform.release(),
        operating_system=_operating_system(release, root),
        os_version=release.get("VERSION_ID", ""),
        architecture=machine,
        oci_architecture=_OCI_ARCHITECTURES.get(machine, machine),
        hostname=platform.node(),
        memory_total_bytes=_memory_total(root),
        ncpu=len(os.sched_getaffinity(0)),
        capabilities=capabilities_in_mask(int(status.get("CapEff", "0"), 16)),
        rlimits=MappingProxyType(_rlimits()),
        oom_score_adj=_integer(root / "proc/self/oom_score_adj", 0),
        seccomp=_has_seccomp(),
        x32=_runs_x32(machine, status),
        apparmor=_has_apparmor(root),
        selinux=(root / "sys/fs/selinux/enforce").exists(),
        user_namespaces=(root / "proc/self/ns/user").exists()
        and _integer(root / "proc/sys/user/max_user_namespaces", 1) > 0,
        systemd=(root / "run/systemd/system").is_dir(),
        in_user_namespace=_in_user_namespace(root),
        ipv4_forwarding=_text(root / "proc/sys/net/ipv4/ip_forward").strip() == "1",
        sysctl_ping_group_range=(root / "proc/sys/net/ipv4/ping_group_range").exists(),
        sysctl_unprivileged_port_start=(
            root / "proc/sys/net/ipv4/ip_unprivileged_port_start"
        ).exists(),
        thermal_throttle_paths=_thermal_throttle_paths(root),
        boot_id=_text(root / "proc/sys/kernel/random/boot_id").strip(),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """Names and values of os-release(5). A line that is not NAME=value is skipped."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if not separator or name.startswith("#"):
            continue
        try:
            values[name] = "".join(shlex.split(value))
        except ValueError:  # an unclosed quote
            values[name] = value.strip("\"'")
    return values


def _os_release(root: Path) -> dict[str, str]:
    return parse_os_release(_text(root / "etc/os-release") or _text(root / "usr/lib/os-release"))


def _operating_system(release: Mapping[str, str], root: Path) -> str:
    """As docker info shows it, with its mark when we run inside a container ourselves."""
    name = release.get("PRETTY_NAME") or "Linux"
    inside = any(
        line.rpartition(":")[2] not in ("/", "", "/init.scope")
        for line in _text(root / "proc/1/cgroup").splitlines()
    )
    return f"{name} (containerized)" if inside else name


def _memory_total(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _status(root: Path) -> dict[str, str]:
    lines = _text(root / "proc/self/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _rlimits() -> dict[str, RlimitPair]:
    """Our own limits, by the kernel's names without RLIMIT_."""

    def value(limit: int) -> int:
        return UNLIMITED if limit == resource.RLIM_INFINITY else limit

    found = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE":
            soft, hard = resource.getrlimit(getattr(resource, name))
            found[name.removeprefix("RLIMIT_")] = RlimitPair(soft=value(soft), hard=value(hard))
    return found


def _has_seccomp() -> bool:
    """Filter mode is there when installing a null filter fails with EFAULT rather than EINVAL."""
    libc = ctypes.CDLL(None, use_errno=True)

    def is_known(*arguments: int | None) -> bool:
        # A call that succeeds leaves errno as whoever called before in this thread has left it.
        return libc.prctl(*arguments) != -1 or ctypes.get_errno() != errno.EINVAL

    return is_known(_PR_GET_SECCOMP, 0, 0, 0, 0) and is_known(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0
    )


def _runs_x32(machine: str, status: Mapping[str, str]) -> bool:
    """Whether the kernel answers calls by the x32 ABI, which most are built or booted without.

    Under a filter of somebody else's nothing is tried: it may kill who makes such a call.
    """
    if machine != "x86_64":
        return False
    if status.get("Seccomp") != "0":
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(ctypes.c_long(_X32_GETPID)) != -1)


def _has_apparmor(root: Path) -> bool:
    """Whether profiles can be loaded and used: not from inside a container of somebody else's.

    Source: containerd, pkg/apparmor, which dockerd asks.
    """
    return (
        _text(root / "sys/module/apparmor/parameters/enabled").startswith("Y")
        and (root / "sys/kernel/security/apparmor").exists()
        and any((root / folder / "apparmor_parser").exists() for folder in ("sbin", "usr/sbin"))
        and not os.environ.get("container")  # noqa: SIM112 - its name, by systemd and others
    )


def _in_user_namespace(root: Path) -> bool:
    """The first namespace maps the whole range onto itself."""
    return _text(root / "proc/self/uid_map").split() not in (["0", "0", "4294967295"], [])


def _thermal_throttle_paths(root: Path) -> tuple[str, ...]:
    """Counters that tell a container about the machine's load; dockerd masks them."""
    found = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    return tuple(sorted(f"/{path.relative_to(root)}" for path in found))


def _integer(path: Path, default: int) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return default


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
