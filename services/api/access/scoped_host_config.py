"""Which members of a HostConfig a scoped socket lets through, and what lets the others through.

Every member has a row, so that a new one is refused until somebody has thought about it; a test
compares the rows with the struct.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.api.access.scopes import Policy
from services.api.versions.create_body import CreateBody
from services.containers.config import HostConfig, Mount, docker_name
from services.errors import Forbidden

SAFE: Final = ""
"""Bounds, names inside the container, and what has no effect here."""

ABILITY_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "auto_remove", "restart_policy", "console_size", "cap_drop", "dns", "dns_options",
                "dns_search", "extra_hosts", "group_add", "readonly_rootfs", "tmpfs", "shm_size",
                "cpu_shares", "memory", "nano_cpus", "blkio_weight", "cpu_period", "cpu_quota",
                "cpuset_cpus", "cpuset_mems", "kernel_memory", "kernel_memory_tcp",
                "memory_reservation", "memory_swap", "memory_swappiness", "pids_limit", "ulimits",
                "cpu_count", "cpu_percent", "io_maximum_iops", "io_maximum_bandwidth", "init",
                "isolation",
            ),
            SAFE,
        ),
        "annotations": "runtimes",  # the runtime acts on them
        "binds": "binds",
        "blkio_device_read_bps": "devices",
        "blkio_device_read_iops": "devices",
        "blkio_device_write_bps": "devices",
        "blkio_device_write_iops": "devices",
        "blkio_weight_device": "devices",
        "cap_add": "capabilities",
        "cgroup": "host-namespaces",
        "cgroup_parent": "host-namespaces",
        "cgroupns_mode": "host-namespaces",
        "container_id_file": SAFE,  # the client's
        "cpu_realtime_period": "security",
        "cpu_realtime_runtime": "security",
        "device_cgroup_rules": "devices",
        "device_requests": "devices",
        "devices": "devices",
        "ipc_mode": "host-namespaces",
        "links": "links",
        "log_config": "log-drivers",
        "masked_paths": "security",
        "mounts": "binds",
        "network_mode": "networks",
        "oom_kill_disable": "security",
        "oom_score_adj": "security",
        "pid_mode": "host-namespaces",
        "port_bindings": "ports",
        "privileged": "privileged",
        "publish_all_ports": "ports",
        "readonly_paths": "security",
        "runtime": "runtimes",
        "security_opt": "security",
        "storage_opt": "security",
        "sysctls": "security",
        "userns_mode": "host-namespaces",
        "uts_mode": "host-namespaces",
        "volume_driver": "binds",
        "volumes_from": "links",
    }
)  # fmt: skip

_EMPTY_MATTERS: Final = frozenset({"masked_paths", "readonly_paths"})
"""Empty means none there, and not as usual."""

_PRIVATE_MODES: Final = frozenset({"", "private"})
_OWN_NETWORKS: Final = frozenset({"", "default", "bridge", "none"})
# Values besides the default that give nothing away.
_HARMLESS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "cgroupns_mode": lambda mode: mode in _PRIVATE_MODES,
        "ipc_mode": lambda mode: mode in {"", "none", "private", "shareable"},
        "network_mode": lambda mode: mode in _OWN_NETWORKS,
        "log_config": lambda log: log.type in {"", "none"} and not log.config,
        "oom_kill_disable": lambda value: not value,
        "oom_score_adj": lambda score: score >= 0,
        "mounts": lambda mounts: not any(_is_of_the_host(mount) for mount in mounts or ()),
    }
)  # fmt: skip


def check_host_config(host: HostConfig, policy: Policy) -> None:
    """Raises Forbidden: it asks for what `policy` does not allow."""
    default = HostConfig()
    for member in HostConfig.__struct_fields__:
        value = getattr(host, member)
        if value == getattr(default, member) or (not value and member not in _EMPTY_MATTERS):
            continue
        is_harmless = _HARMLESS.get(member)
        if is_harmless is None or not is_harmless(value):
            _require(_ability(member, value), policy, f"HostConfig.{docker_name(member)}")
    if any(_names_a_volume(mount) for mount in _mounts(host)):
        _require("volumes", policy, "HostConfig.Mounts with a named volume")


def _ability(member: str, value: Any) -> str | None:
    """What is needed for this value; None: nobody has thought about its member."""
    if member == "binds":
        is_host = any(bind.startswith(("/", ".", "~")) for bind in value)
        return "binds" if is_host else "volumes"
    if member == "network_mode" and (value == "host" or value.startswith("container:")):
        return "host-namespaces"
    return ABILITY_OF.get(member)


def check_create(body: CreateBody, policy: Policy) -> None:
    """Raises Forbidden: a container as `policy` does not allow it."""
    check_host_config(body.host_config, policy)
    if body.mac_address or set(body.networking_config.endpoints_config) - _OWN_NETWORKS:
        _require("networks", policy, "NetworkingConfig")


def with_labels(body: CreateBody, policy: Policy) -> CreateBody:
    """The body with the policy's labels, over the client's own."""
    labels = {**(body.labels or {}), **policy.labels}
    return msgspec.structs.replace(body, labels=labels)


def _mounts(host: HostConfig) -> list[Mount]:
    return [] if host.mounts is msgspec.UNSET else host.mounts or []


def _is_of_the_host(mount: Mount) -> bool:
    if mount.type == "tmpfs":
        return False
    options = mount.volume_options
    return mount.type != "volume" or (options is not None and options.driver_config is not None)


def _names_a_volume(mount: Mount) -> bool:
    return mount.type == "volume" and bool(mount.source)


def _require(ability: str | None, policy: Policy, what: str) -> None:
    if ability == SAFE or ability in policy.abilities:
        return
    reason = f"{ability} is not allowed" if ability else "it is not known"
    raise Forbidden(f"{what} cannot be used on this socket: {reason}")
