"""Filling in what a request leaves out, as dockerd stores it.

Source: moby, daemon/daemon_unix.go, adaptContainerSettings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from services.containers.config import HostConfig
from services.containers.spec.build import READONLY_PATHS, default_masked_paths
from services.containers.spec.modes import shared_container
from services.containers.spec.resources import swap_limit
from services.containers.spec.values import SpecDefaults
from services.system import HostFacts

MIN_CPU_SHARES: Final = 2
MAX_CPU_SHARES: Final = 262_144
_LABEL_OFF: Final = "label=disable"


def adapt_host_config(host: HostConfig, facts: HostFacts, defaults: SpecDefaults) -> HostConfig:
    """`host` as it is kept and shown by inspect. It may still be impossible: `validate` says.

    "container:<name>" modes must have been turned to ids by the caller, who knows the names.
    """
    changes: dict[str, object] = {
        "memory_swap": swap_limit(host.memory, host.memory_swap),
        "shm_size": host.shm_size or defaults.shm_size_bytes,
        "ipc_mode": host.ipc_mode or defaults.ipc_mode,
        "cgroupns_mode": host.cgroupns_mode or _cgroupns_mode(host, facts, defaults),
        "runtime": host.runtime or defaults.default_runtime,
        "network_mode": host.network_mode or "default",
        "security_opt": _security_options(host),
    }
    changes["cpu_shares"] = kernel_cpu_shares(host.cpu_shares)
    if host.oom_kill_disable is None:
        changes["oom_kill_disable"] = False
    if host.pids_limit is not None and host.pids_limit <= 0:
        changes["pids_limit"] = None
    if host.memory_swappiness == -1:
        changes["memory_swappiness"] = None
    if not host.privileged:
        if host.masked_paths is None:
            changes["masked_paths"] = list(default_masked_paths(facts.thermal_throttle_paths))
        if host.readonly_paths is None:
            changes["readonly_paths"] = list(READONLY_PATHS)
    return msgspec.structs.replace(host, **changes)


def kernel_cpu_shares(shares: int) -> int:
    """The nearest share that the kernel takes. 0 is its default; less is refused elsewhere."""
    return min(max(shares, MIN_CPU_SHARES), MAX_CPU_SHARES) if shares > 0 else shares


def _cgroupns_mode(host: HostConfig, facts: HostFacts, defaults: SpecDefaults) -> str:
    first = facts.cgroup.version == "1"
    if host.privileged and first:
        return "host"
    return defaults.cgroupns_mode or ("host" if first else "private")


def _security_options(host: HostConfig) -> list[str] | None:
    """Labels keep a container from others' processes, so sharing theirs switches labels off."""
    shares = (
        host.privileged
        or "host" in (host.ipc_mode, host.pid_mode)
        or shared_container(host.ipc_mode) is not None
    )
    options: Sequence[str] = host.security_opt or ()
    if shares and _LABEL_OFF not in options:
        return [*options, _LABEL_OFF]
    return host.security_opt
