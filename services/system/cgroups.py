"""Which cgroup controllers are mounted, and which of their limits this kernel has. Blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from services.system.facts import CgroupFacts

_NAMED = "name="


def controller_mountpoints(mountinfo: str) -> dict[str, str]:
    """Where each cgroup v1 controller is mounted, from the text of /proc/self/mountinfo.

    Named hierarchies ("name=systemd") are left out. The first mount of a controller wins.
    """
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 5 or len(tail) < 3 or tail[0] != "cgroup":
            continue
        for option in tail[2].split(","):
            if option in _CONTROLLERS and not option.startswith(_NAMED):
                found.setdefault(option, _unescape(fields[4]))
    return found


def unified_mountpoint(mountinfo: str) -> str:
    """Where cgroup2 is mounted, "" when it is not. /sys/fs/cgroup itself is preferred."""
    found = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) >= 5 and after.startswith("cgroup2 "):
            if fields[4] == "/sys/fs/cgroup":
                return fields[4]
            found = found or _unescape(fields[4])
    return found


def read_cgroup_facts(root: Path = Path("/")) -> CgroupFacts:
    """Probe the hierarchy under `root`. A controller that cannot be read counts as absent."""
    mountinfo = _text(root / "proc/self/mountinfo")
    namespaces = (root / "proc/self/ns/cgroup").exists()
    v1 = controller_mountpoints(mountinfo)
    unified = unified_mountpoint(mountinfo)
    if v1 or not unified:
        return _version_1(root, v1, namespaces=namespaces)
    return _version_2(root, unified, namespaces=namespaces)


def _version_1(root: Path, mounts: Mapping[str, str], *, namespaces: bool) -> CgroupFacts:
    def has(controller: str, file: str) -> bool:
        mount = mounts.get(controller)
        return mount is not None and _under(root, mount, file).exists()

    cpuset = mounts.get("cpuset")
    return CgroupFacts(
        version="1",
        mountpoints=MappingProxyType(dict(mounts)),
        memory_limit="memory" in mounts,
        swap_limit=has("memory", "memory.memsw.limit_in_bytes"),
        memory_reservation=has("memory", "memory.soft_limit_in_bytes"),
        memory_swappiness=has("memory", "memory.swappiness"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        kernel_memory=has("memory", "memory.kmem.limit_in_bytes"),
        kernel_memory_tcp=has("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_cfs=has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime=has("cpu", "cpu.rt_period_us"),
        cpuset=cpuset is not None,
        cpus=_text(_under(root, cpuset, "cpuset.cpus")).strip() if cpuset else "",
        mems=_text(_under(root, cpuset, "cpuset.mems")).strip() if cpuset else "",
        pids_limit="pids" in mounts,
        blkio_weight=has("blkio", "blkio.weight") or has("blkio", "blkio.bfq.weight"),
        blkio_weight_device=has("blkio", "blkio.weight_device"),
        blkio_throttle_read_bps=has("blkio", "blkio.throttle.read_bps_device"),
        blkio_throttle_write_bps=has("blkio", "blkio.throttle.write_bps_device"),
        blkio_throttle_read_iops=has("blkio", "blkio.throttle.read_iops_device"),
        blkio_throttle_write_iops=has("blkio", "blkio.throttle.write_iops_device"),
        devices="devices" in mounts,
        namespaces=namespaces,
    )


def _version_2(root: Path, mount: str, *, namespaces: bool) -> CgroupFacts:
    controllers = _text(_under(root, mount, "cgroup.controllers")).split()
    io, memory, cpu = ("io" in controllers, "memory" in controllers, "cpu" in controllers)
    return CgroupFacts(
        version="2",
        mountpoints=MappingProxyType(dict.fromkeys(controllers, mount)),
        memory_limit=memory,
        swap_limit=memory and _has_swap_file(root),
        memory_reservation=memory,
        # The next four have no counterpart in cgroup v2.
        memory_swappiness=False,
        oom_kill_disable=False,
        kernel_memory=False,
        kernel_memory_tcp=False,
        cpu_shares=cpu,
        cpu_cfs=cpu,
        cpu_realtime=False,
        cpuset="cpuset" in controllers,
        cpus=_text(_under(root, mount, "cpuset.cpus.effective")).strip(),
        mems=_text(_under(root, mount, "cpuset.mems.effective")).strip(),
        pids_limit="pids" in controllers,
        blkio_weight=io,
        blkio_weight_device=io,
        blkio_throttle_read_bps=io,
        blkio_throttle_write_bps=io,
        blkio_throttle_read_iops=io,
        blkio_throttle_write_iops=io,
        devices=True,  # by eBPF, without a controller
        namespaces=namespaces,
    )


def _has_swap_file(root: Path) -> bool:
    """Whether memory.swap.max exists: not in the root cgroup, so in our own or below the root.

    A kernel without swap accounting has it nowhere; when no cgroup can be looked at, assume it.
    """
    own = _text(root / "proc/self/cgroup").strip().rpartition("::")[2].lstrip("/")
    base = root / "sys/fs/cgroup"
    places = [base / own] if own else [p for p in base.glob("*") if p.is_dir()][:16]
    return any((p / "memory.swap.max").exists() for p in places) or not places


def _under(root: Path, mount: str, file: str) -> Path:
    return root / mount.lstrip("/") / file


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _unescape(field: str) -> str:
    """mountinfo writes space, tab, newline and backslash in octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


_CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls",
     "net_prio", "perf_event", "hugetlb", "rdma", "misc")
)  # fmt: skip
