"""Impossible settings are refused before anything is made, in dockerd's words.

Source: moby, daemon/container.go (verifyContainerSettings), daemon/daemon_unix.go and runconfig.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Final

import msgspec

from services.containers.cdi import check_requests
from services.containers.config import ContainerConfig, HostConfig, RestartPolicy
from services.containers.runtimes import is_shim_name
from services.containers.spec import modes
from services.containers.spec.binds import parse_mounts, wants_label
from services.containers.spec.capabilities import normalize_capabilities
from services.containers.spec.devices import check_device_access, parse_device_rule
from services.containers.spec.limits import (
    check_ulimits,
    merge_ulimits,
    oom_score_adj,
    process_rlimits,
)
from services.containers.spec.mount_checks import check_tmpfs_destination
from services.containers.spec.mounts import merge_tmpfs_options
from services.containers.spec.null_bytes import check_null_bytes
from services.containers.spec.seccomp import BUILTIN, UNCONFINED, parse_profile
from services.containers.spec.security import parse_security_options
from services.containers.spec.sysctls import check_sysctls
from services.containers.spec.validate_config import check_config
from services.containers.spec.validate_resources import check_resources
from services.containers.spec.values import SpecDefaults
from services.errors import InvalidParameter
from services.system import HostFacts
from services.system.capabilities import CAPABILITY_NAMES

_PORT: Final = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_PROTOCOLS: Final = frozenset(("tcp", "udp", "sctp"))
_RESTART_NAMES: Final = ("no", "always", "on-failure", "unless-stopped")


def validate(
    config: ContainerConfig, host: HostConfig, facts: HostFacts, defaults: SpecDefaults
) -> tuple[HostConfig, list[str]]:
    """Check `config` and `host` (from `adapt_host_config`), and drop what the kernel cannot do.

    Returns the host config that holds, and dockerd's warning for each setting that was dropped.

    Raises:
        InvalidParameter: no container can have these settings; the text is dockerd's.
    """
    check_config(config)
    check_null_bytes(config, host)
    _check_host(host, facts, defaults)
    _check_network(config, host)
    host, warnings = check_resources(host, facts)
    warnings += _check_platform(host, facts, defaults)
    return host, warnings


def check_restart_policy(policy: RestartPolicy) -> None:
    """Raises InvalidParameter. Source: moby, api/types/container, ValidateRestartPolicy."""
    count = policy.maximum_retry_count
    if policy.name and policy.name not in _RESTART_NAMES:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', "
            "'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.name == "on-failure":
        if count < 0:
            raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    elif policy.name and count:
        negative = " and cannot be negative" if count < 0 else ""
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with "
            f"'on-failure'{negative}"
        )


def _check_host(host: HostConfig, facts: HostFacts, defaults: SpecDefaults) -> None:
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    parse_mounts(host, data_root=defaults.data_root)
    for entry in host.extra_hosts or ():
        _check_extra_host(entry)
    _check_port_bindings(host)
    check_restart_policy(host.restart_policy)
    for field, names, known in (
        ("CapAdd", host.cap_add, facts.capabilities),
        ("CapDrop", host.cap_drop, CAPABILITY_NAMES),
    ):
        try:
            normalize_capabilities(names or (), known)
        except InvalidParameter as error:
            raise InvalidParameter(f"invalid {field}: {error}") from error
    if host.isolation.lower() not in ("", "default"):
        raise InvalidParameter(
            f"Invalid isolation: {json.dumps(host.isolation)} - linux only supports 'default'"
        )
    if host.annotations is not msgspec.UNSET and "" in (host.annotations or {}):
        raise InvalidParameter(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )


def _check_extra_host(entry: str) -> None:
    name, separator, address = entry.partition(":")
    if not separator or not name:
        raise InvalidParameter(f"bad format for add-host: {json.dumps(entry)}")
    if address == "host-gateway":
        return
    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise InvalidParameter(f"invalid IP address in add-host: {json.dumps(address)}") from error


def _check_port_bindings(host: HostConfig) -> None:
    for port, bindings in (host.port_bindings or {}).items():
        _check_port(port, port.partition("/")[0])
        for binding in bindings or ():
            if binding.host_port:
                _check_port(binding.host_port, binding.host_port)
            if binding.host_ip:
                try:
                    ipaddress.ip_address(binding.host_ip)
                except ValueError as error:
                    raise InvalidParameter(
                        f"invalid IP address in port binding: {json.dumps(binding.host_ip)}"
                    ) from error


def _check_port(text: str, shown: str) -> None:
    """Ports look so: "80", "80/tcp" or "8000-8010/udp". `shown` goes into the refusal."""
    numbers, _, protocol = text.partition("/")
    found = _PORT.fullmatch(numbers)
    if found is None or (protocol or "tcp").lower() not in _PROTOCOLS:
        raise InvalidParameter(f"invalid port specification: {json.dumps(shown)}")
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if not first <= last <= 65535:
        raise InvalidParameter(f"invalid port specification: {json.dumps(shown)}")


def _check_network(config: ContainerConfig, host: HostConfig) -> None:
    """Settings that contradict a shared network. Source: moby, runconfig/hostconfig_unix.go."""
    if host.uts_mode == "host" and config.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    undefined = "This would result in undefined behavior"
    if host.network_mode == "host" and host.links:
        raise InvalidParameter(
            f"conflicting options: host type networking can't be used with links. {undefined}"
        )
    shared = modes.shared_container(host.network_mode)
    if host.network_mode == "container":  # as dockerd: no name of a network
        shared = ""
    if shared is None:
        return
    if not shared:
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")
    exposed = config.exposed_ports is not msgspec.UNSET and config.exposed_ports
    conflicts = (
        (config.hostname, "hostname and the network mode"),
        (host.links, f"container type network can't be used with links. {undefined}"),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (exposed, "port exposing and the container type network mode"),
    )
    for given, text in conflicts:
        if given:
            raise InvalidParameter(f"conflicting options: {text}")


def _check_platform(host: HostConfig, facts: HostFacts, defaults: SpecDefaults) -> list[str]:
    """The rest of HostConfig, in dockerd's order. Returns warnings."""
    checks = (
        (modes.is_valid_ipc(host.ipc_mode), f"invalid IPC mode: {host.ipc_mode}"),
        (modes.is_valid_pid(host.pid_mode), f"invalid PID mode: {host.pid_mode}"),
        (host.shm_size >= 0, "SHM size can not be less than 0"),
        (modes.is_valid_uts(host.uts_mode), f"invalid UTS mode: {host.uts_mode}"),
        (
            -1000 <= host.oom_score_adj <= 1000,
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]",
        ),
        (host.userns_mode in ("", "host"), f"invalid userns mode: {host.userns_mode}"),
        (
            modes.is_valid_cgroupns(host.cgroupns_mode),
            f"invalid cgroup namespace mode: {host.cgroupns_mode}",
        ),
    )
    for holds, text in checks:
        if not holds:
            raise InvalidParameter(text)
    _check_cgroup_parent(host.cgroup_parent, defaults)
    known = host.runtime in defaults.runtimes or is_shim_name(host.runtime)
    if host.runtime and not known:
        raise InvalidParameter(f"unknown or invalid runtime name: {host.runtime}")
    _check_tmpfs(host)
    _check_security(host, facts)
    check_device_access(host.devices or ())
    for rule in host.device_cgroup_rules or ():
        parse_device_rule(rule)
    check_sysctls(host)
    _check_storage(host)
    check_requests(host.device_requests or (), has_cdi=defaults.cdi)
    return _warnings(host, facts, defaults)


def _check_cgroup_parent(parent: str, defaults: SpecDefaults) -> None:
    if not parent or defaults.cgroup_driver != "systemd":
        if ".." in parent.split("/"):
            raise InvalidParameter(f"invalid cgroup parent: {parent}")
        return
    if len(parent) <= len(".slice") or not parent.endswith(".slice"):
        raise InvalidParameter(
            'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        )


def _check_storage(host: HostConfig) -> None:
    """A size of one container's own layer: the snapshotter has no quotas, as overlay2 on ext4."""
    options = {} if host.storage_opt is msgspec.UNSET else host.storage_opt or {}
    for name in options:
        if name.lower() != "size":
            raise InvalidParameter(f"unknown option {name}")
        raise InvalidParameter(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )


def _check_tmpfs(host: HostConfig) -> None:
    tmpfs = {} if host.tmpfs is msgspec.UNSET else host.tmpfs or {}
    for destination, data in tmpfs.items():
        check_tmpfs_destination(destination)
        merge_tmpfs_options([option for option in data.split(",") if option])


def _check_security(host: HostConfig, facts: HostFacts) -> None:
    options = parse_security_options(host.security_opt or ())
    if options.seccomp in ("", BUILTIN, UNCONFINED):
        return
    if not facts.seccomp:
        raise InvalidParameter(
            "seccomp is not enabled in your kernel, cannot run a custom seccomp profile"
        )
    parse_profile(options.seccomp)


def _warnings(host: HostConfig, facts: HostFacts, defaults: SpecDefaults) -> list[str]:
    warnings = []
    if not facts.ipv4_forwarding and host.network_mode not in ("host", "none"):
        warnings.append("IPv4 forwarding is disabled. Networking will not work.")
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    if host.cgroupns_mode == "private" and not facts.cgroup.namespaces:
        warnings.append(
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded."
        )
    if any(map(wants_label, host.binds or ())):
        warnings.append('SELinux is not in use: the labels "z" and "Z" of mounts are ignored')
    check_ulimits(host.ulimits or ())
    ulimits = merge_ulimits(host.ulimits or (), defaults.ulimits)
    warnings += process_rlimits(ulimits, facts)[1]
    warnings += oom_score_adj(host.oom_score_adj, facts)[1]
    return warnings
