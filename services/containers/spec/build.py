"""`build_spec`: from settings and facts to an OCI runtime spec equal in effect to dockerd's."""

from __future__ import annotations

from typing import Final

import msgspec

from services.containers.spec.capabilities import container_capabilities
from services.containers.spec.devices import device_nodes, device_rules
from services.containers.spec.modes import has_private_network
from services.containers.spec.mounts import container_mounts, root_propagation
from services.containers.spec.namespaces import container_namespaces
from services.containers.spec.process import container_process
from services.containers.spec.resources import container_resources
from services.containers.spec.seccomp import seccomp_section
from services.containers.spec.security import parse_security_options
from services.containers.spec.values import Json, SpecInputs

OCI_VERSION: Final = "1.0.2"
_CGROUPFS_PARENT: Final = "/docker"
_SYSTEMD_PARENT: Final = "system.slice"

# Files that tell about, or reach, the machine beyond the container. Source: moby, oci/defaults.go.
MASKED_PATHS: Final = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
READONLY_PATHS: Final = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)  # fmt: skip


def build_spec(inputs: SpecInputs) -> Json:
    """The whole config.json of a container. Pure: what must be read is in `inputs`.

    Raises:
        InvalidParameter: a setting that no container can have; `validate` finds these earlier.
    """
    spec: Json = {
        "ociVersion": OCI_VERSION,
        "process": container_process(inputs),
        "root": {"path": inputs.rootfs_path, "readonly": inputs.host_config.readonly_rootfs},
        "mounts": container_mounts(inputs),
        "linux": _linux(inputs),
    }
    if inputs.host_config.uts_mode != "host":
        spec["hostname"] = inputs.config.hostname
    annotations = inputs.host_config.annotations
    if annotations is not msgspec.UNSET and annotations:
        spec["annotations"] = dict(annotations)
    return spec


def cgroups_path(inputs: SpecInputs) -> str:
    """Where the container's cgroup goes, in the form that the cgroup driver reads."""
    parent = parent_cgroup(inputs)
    if inputs.defaults.cgroup_driver == "systemd":
        return f"{parent}:docker:{inputs.container_id}"
    # A relative parent stays relative, as dockerd's: the runtime puts it below its own cgroup.
    return f"{parent.rstrip('/')}/{inputs.container_id}"


def parent_cgroup(inputs: SpecInputs) -> str:
    """What the container's cgroup is made in: a path, or with systemd's driver a slice."""
    defaults = inputs.defaults
    is_systemd = defaults.cgroup_driver == "systemd"
    usual = _SYSTEMD_PARENT if is_systemd else _CGROUPFS_PARENT
    return inputs.host_config.cgroup_parent or defaults.cgroup_parent or usual


def container_sysctls(inputs: SpecInputs) -> dict[str, str]:
    """The user's settings over ours: ping and low ports need no capability in a private network."""
    host, facts = inputs.host_config, inputs.facts
    settings: dict[str, str] = {}
    if has_private_network(host.network_mode):
        if facts.sysctl_ping_group_range and not facts.in_user_namespace:
            settings["net.ipv4.ping_group_range"] = "0 2147483647"
        if facts.sysctl_unprivileged_port_start:
            settings["net.ipv4.ip_unprivileged_port_start"] = "0"
    if inputs.config.domainname and host.uts_mode != "host":
        # runc before 1.2 does not know the spec's domainname field.
        settings["kernel.domainname"] = inputs.config.domainname
    return settings if host.sysctls is msgspec.UNSET else {**settings, **(host.sysctls or {})}


def _linux(inputs: SpecInputs) -> Json:
    host = inputs.host_config
    resources = container_resources(host, inputs.devices.block_numbers)
    resources["devices"] = device_rules(host, inputs.devices)
    section: Json = {
        "cgroupsPath": cgroups_path(inputs),
        "namespaces": container_namespaces(inputs),
        "resources": resources,
        "sysctl": container_sysctls(inputs),
        "maskedPaths": list(masked_paths(inputs)),
        "readonlyPaths": list(readonly_paths(inputs)),
    }
    if nodes := device_nodes(host, inputs.devices):
        section["devices"] = nodes
    if propagation := root_propagation(inputs.mounts):
        section["rootfsPropagation"] = propagation
    if seccomp := _seccomp(inputs):
        section["seccomp"] = seccomp
    return section


def masked_paths(inputs: SpecInputs) -> tuple[str, ...]:
    """Paths that look empty inside. None when privileged; the request's own list replaces ours."""
    if _unconfined_paths(inputs):
        return ()
    own = inputs.host_config.masked_paths
    return (
        tuple(own) if own is not None else default_masked_paths(inputs.facts.thermal_throttle_paths)
    )


def readonly_paths(inputs: SpecInputs) -> tuple[str, ...]:
    """Paths that cannot be written inside, by the rule of `masked_paths`."""
    if _unconfined_paths(inputs):
        return ()
    own = inputs.host_config.readonly_paths
    return READONLY_PATHS if own is None else tuple(own)


def default_masked_paths(thermal_throttle_paths: tuple[str, ...]) -> tuple[str, ...]:
    """Docker's list with the host's thermal counters, which tell how busy its neighbours are."""
    return (*MASKED_PATHS, *thermal_throttle_paths)


def _unconfined_paths(inputs: SpecInputs) -> bool:
    host = inputs.host_config
    if host.privileged:
        return True
    return parse_security_options(host.security_opt or ()).system_paths_unconfined


def _seccomp(inputs: SpecInputs) -> Json | None:
    host = inputs.host_config
    asked = parse_security_options(host.security_opt or ()).seccomp
    names = container_capabilities(
        add=host.cap_add or (),
        drop=host.cap_drop or (),
        privileged=host.privileged,
        available=inputs.facts.capabilities,
    )
    return seccomp_section(
        asked=asked,
        default=inputs.defaults.seccomp_profile,
        privileged=host.privileged,
        capabilities=names,
        facts=inputs.facts,
    )
