"""Containers on the wire. Source: Engine API, ContainerSummary, ContainerInspectResponse."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.api.types.container_networks import endpoints, network_settings, summary_ports
from services.api.types.times import human_duration, rfc3339_nano
from services.api.versions.container_answers import INSPECT_ROWS, SUMMARY_ROWS, adapt_answer
from services.api.versions.version import CURRENT, ApiVersion
from services.containers import Container, Health, MountPoint, State
from services.containers.apparmor import DEFAULT_PROFILE, container_profile
from services.containers.config import HostConfig
from services.containers.sizes import Size
from services.containers.spec.security import parse_security_options

_OMITTED_IF_EMPTY: Final = (
    "Annotations", "Mounts", "StorageOpt", "Sysctls", "Tmpfs",
)  # fmt: skip
_OLD_MEMBERS: Final = ("KernelMemory", "KernelMemoryTCP")  # those who know them get them by a row


_HEALTH_TEXTS: Final = MappingProxyType(
    {
        "none": "",
        "starting": " (health: starting)",
        "healthy": " (healthy)",
        "unhealthy": " (unhealthy)",
    }
)


def status_text(container: Container, now_ns: int) -> str:
    """`Status` of a summary: the state with how long it has lasted, for people."""
    status = container.status
    silence = _silence(container, now_ns)
    since_exit = human_duration((now_ns - status.finished_at_ns) / 1e9)
    match status.state:
        case State.RUNNING:
            since_start = human_duration((now_ns - status.started_at_ns) / 1e9)
            return f"Up {since_start}{_HEALTH_TEXTS[health_status(container)]}{silence}"
        case State.PAUSED:
            return f"Up {human_duration((now_ns - status.started_at_ns) / 1e9)} (Paused){silence}"
        case State.RESTARTING:
            return f"Restarting ({status.exit_code}) {since_exit} ago"
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"
        case State.EXITED:
            return f"Exited ({status.exit_code}) {since_exit} ago"
        case State.CREATED:
            return "Created"


def _silence(container: Container, now_ns: int) -> str:
    """Our own words behind dockerd's, of a container whose state is what was last known."""
    since_ns = container.unreadable_since_ns
    if since_ns is None:
        return ""
    return f" (not answering for {human_duration((now_ns - since_ns) / 1e9).lower()})"


def health_status(container: Container) -> str:
    """`Health.Status`; "none" without a health check."""
    return container.health.status.value if container.health else "none"


def summary_to_wire(
    container: Container,
    *,
    status: str,
    image: str,
    link_names: Sequence[str] = (),
    version: ApiVersion = CURRENT,
) -> dict[str, Any]:
    """One element of GET /containers/json. `image` is what the image is called now.

    `link_names` are what others' links call it, with Docker's slash.
    """
    definition = container.definition
    wire = {
        "Id": container.id,
        "Names": [f"/{definition.name}", *link_names],
        "Image": image,
        "ImageID": definition.image_id,
        "ImageManifestDescriptor": _descriptor(container),
        "Command": _command_line(definition.path, definition.args),
        "Created": definition.created_at_ns // 10**9,
        "Ports": summary_ports(container),
        "Labels": definition.config.labels,
        "State": container.state.value,
        "Status": status,
        "HostConfig": {
            "NetworkMode": definition.host_config.network_mode,
            **_annotations(definition.host_config),
        },
        "Health": {
            "Status": health_status(container),
            "FailingStreak": container.health.failing_streak if container.health else 0,
        },
        "NetworkSettings": {"Networks": endpoints(container)},
        "Mounts": [mount_to_wire(mount) for mount in definition.mounts],
    }
    return adapt_answer(SUMMARY_ROWS, wire, container, version)


def _annotations(host: HostConfig) -> dict[str, Any]:
    annotations = {} if host.annotations is msgspec.UNSET else host.annotations
    return {"Annotations": annotations} if annotations else {}


def _command_line(path: str, args: list[str]) -> str:
    """dockerd's: an argument with a space in it stands in quotes."""
    return " ".join(
        [path, *(f"'{argument}'" if " " in argument else argument for argument in args)]
    )


def inspect_to_wire(
    container: Container,
    *,
    places: dict[str, str],
    execs: list[str],
    links: Sequence[str] = (),
    size: Size | None = None,
    has_apparmor: bool = False,
    version: ApiVersion = CURRENT,
) -> dict[str, Any]:
    """The answer of GET /containers/{id}/json. `places` are the paths of the container's files.

    `links` are "/child:/parent/alias".
    """
    definition, status = container.definition, container.status
    descriptor = _descriptor(container)
    wire = {
        "Id": container.id,
        "Created": rfc3339_nano(definition.created_at_ns),
        "Path": definition.path,
        "Args": definition.args,
        "State": state_to_wire(container),
        "Image": definition.image_id,
        **places,
        "Name": f"/{definition.name}",
        "RestartCount": status.restart_count,
        "Driver": definition.snapshotter,
        "Platform": definition.os,
        **({"ImageManifestDescriptor": descriptor} if descriptor else {}),
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": _apparmor_profile(container, has_apparmor),
        "ExecIDs": execs or None,
        "HostConfig": {**host_config_to_wire(container), "Links": list(links) or None},
        "Storage": {"RootFS": {"Snapshot": {"Name": definition.snapshotter}}},
        **({"SizeRw": size.written_bytes, "SizeRootFs": size.total_bytes} if size else {}),
        "Mounts": [mount_to_wire(mount) for mount in definition.mounts],
        "Config": msgspec.to_builtins(definition.config),
        "NetworkSettings": network_settings(container),
    }
    return adapt_answer(INSPECT_ROWS, wire, container, version)


def _apparmor_profile(container: Container, has_apparmor: bool) -> str:
    """What was asked for; from the first start on, what that came to on this host."""
    host = container.definition.host_config
    asked = parse_security_options(host.security_opt or ()).apparmor
    if not container.status.started_at_ns:
        return asked
    if not has_apparmor:
        return ""
    return container_profile(asked, privileged=host.privileged, default=DEFAULT_PROFILE)


def host_config_to_wire(container: Container) -> dict[str, Any]:
    """Schema HostConfig, with the log driver that the container got.

    Where nothing was said there is null, {} or no member at all, as Go's types in dockerd have it.
    """
    definition = container.definition
    wire: dict[str, Any] = msgspec.to_builtins(definition.host_config)
    wire["LogConfig"] = {"Type": definition.log_driver, "Config": definition.log_options}
    wire["PortBindings"] = wire["PortBindings"] or {}
    for member in (*_OLD_MEMBERS, *_OMITTED_IF_EMPTY):
        if member in _OLD_MEMBERS or not wire.get(member):
            wire.pop(member, None)
    return wire


def state_to_wire(container: Container) -> dict[str, Any]:
    """Schema ContainerState; Docker's booleans are derived here and stored nowhere."""
    status, silent = container.status, container.unreadable_since_ns
    return {
        "Status": status.state.value,
        "Running": container.is_running,
        "Paused": status.state is State.PAUSED,
        "Restarting": status.state is State.RESTARTING,
        "OOMKilled": status.oom_killed,
        "Dead": status.state is State.DEAD,
        "Pid": status.pid,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": rfc3339_nano(status.started_at_ns),
        "FinishedAt": rfc3339_nano(status.finished_at_ns),
        **({"Health": health_to_wire(container.health)} if container.health else {}),
        # Our own: the rest is what was last known.
        **({"UnreadableSince": rfc3339_nano(silent)} if silent is not None else {}),
    }


def health_to_wire(health: Health) -> dict[str, Any]:
    """Schema Health."""
    return {
        "Status": health.status.value,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339_nano(result.started_at_ns),
                "End": rfc3339_nano(result.ended_at_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def mount_to_wire(mount: MountPoint) -> dict[str, Any]:
    """Schema MountPoint."""
    wire: dict[str, Any] = {"Type": mount.type}
    if mount.name:
        wire["Name"] = mount.name
    wire |= {"Source": mount.source, "Destination": mount.destination}
    if mount.driver:
        wire["Driver"] = mount.driver
    return wire | {"Mode": mount.mode, "RW": mount.rw, "Propagation": mount.propagation}


def now_ns() -> int:
    """The wall clock."""
    return time.time_ns()


def _descriptor(container: Container) -> dict[str, Any] | None:
    manifest = container.definition.image_manifest
    if manifest is None:
        return None
    wire: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
    }
    if manifest.platform:
        wire["platform"] = manifest.platform
    return wire
