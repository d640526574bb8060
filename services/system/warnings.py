"""What `docker info` warns about, in dockerd's words.

Source: moby, daemon/info_unix.go. API 1.56's dockerd no longer warns of bridge-nf-call.
"""

from __future__ import annotations

from services.system.facts import HostFacts


def info_warnings(facts: HostFacts) -> list[str]:
    """One line for each limit that this kernel cannot enforce.

    Cgroup v2 has no OOM kill disable and no kernel TCP limit by design: not worth a warning there.
    """
    cgroup = facts.cgroup
    first = cgroup.version == "1"
    checks = (
        (cgroup.memory_limit, "No memory limit support"),
        (cgroup.swap_limit, "No swap limit support"),
        (cgroup.kernel_memory_tcp or not first, "No kernel memory TCP limit support"),
        (cgroup.oom_kill_disable or not first, "No oom kill disable support"),
        (cgroup.cpu_cfs, "No cpu cfs quota support"),
        (cgroup.cpu_cfs, "No cpu cfs period support"),
        (cgroup.cpu_shares, "No cpu shares support"),
        (cgroup.cpuset, "No cpuset support"),
        (cgroup.pids_limit, "No pids limit support"),
        (cgroup.blkio_weight or first, "No io.weight support"),
        (cgroup.blkio_weight_device or first, "No io.weight (per device) support"),
        (cgroup.blkio_throttle_read_bps or first, "No io.max (rbps) support"),
        (cgroup.blkio_throttle_write_bps or first, "No io.max (wbps) support"),
        (cgroup.blkio_throttle_read_iops or first, "No io.max (riops) support"),
        (cgroup.blkio_throttle_write_iops or first, "No io.max (wiops) support"),
        (facts.ipv4_forwarding, "IPv4 forwarding is disabled"),
    )
    return [f"WARNING: {text}" for works, text in checks if not works]


def security_options(
    facts: HostFacts, *, seccomp_profile: str = "builtin", no_new_privileges: bool = False
) -> list[str]:
    """SecurityOptions of /info, with the security systems that this kernel has switched on.

    `no_new_privileges` is the daemon's default. Source: moby, daemon/info.go, fillSecurityOptions.
    """
    options = ["name=apparmor"] if facts.apparmor else []
    if facts.seccomp:
        options.append(f"name=seccomp,profile={seccomp_profile}")
    if facts.cgroup.version == "2" and facts.cgroup.namespaces:
        options.append("name=cgroupns")
    if no_new_privileges:
        options.append("name=no-new-privileges")
    return options
