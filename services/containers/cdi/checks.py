"""Whether a file of CDI's is one: its version, its names, its edits. Source: CDI, pkg/cdi."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from services.containers.cdi.names import (
    CdiError,
    check_annotation_name,
    check_device_name,
    split_kind,
)
from services.containers.cdi.schema import DeviceNode, Edits, Hook, IntelRdt, NetDevice, Spec

HOOKS: Final = frozenset(
    ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
)
NO_PERMISSIONS: Final = "none"
ANNOTATIONS_LIMIT_BYTES: Final = 256 * 1024
_DEVICE_TYPES: Final = frozenset(("", "b", "c", "u", "p"))
_VERSIONS: Final = (
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
)  # fmt: skip


def check_spec(spec: Spec) -> None:
    """Raise CdiError for what no version allows, or not the one that the file names."""
    _check_version(spec)
    split_kind(spec.kind)
    _check_annotations(spec.annotations)
    _check_edits(spec.container_edits)
    names: set[str] = set()
    for device in spec.devices or ():
        try:
            check_device_name(device.name)
            _check_annotations(device.annotations)
            if device.container_edits == Edits():
                raise CdiError("empty container edits")  # noqa: TRY301
            _check_edits(device.container_edits)
        except CdiError as error:
            raise CdiError(f"failed add device {json.dumps(device.name)}: {error}") from error
        if device.name in names:
            raise CdiError(f"invalid spec, multiple device {json.dumps(device.name)}")
        names.add(device.name)
    if not names:
        raise CdiError("invalid spec, no devices")


def _check_version(spec: Spec) -> None:
    version = spec.version.removeprefix("v")
    if version not in _VERSIONS:
        raise CdiError(f"invalid version {json.dumps(spec.version)}")
    for since, uses in _SINCE:
        if _VERSIONS.index(version) < _VERSIONS.index(since) and uses(spec):
            raise CdiError(f"the spec version must be at least v{since}")


def _all_edits(spec: Spec) -> list[Edits]:
    return [spec.container_edits, *(device.container_edits for device in spec.devices or ())]


def _uses_monitoring_or_interfaces(spec: Spec) -> bool:
    return any(
        edits.net_devices
        or (
            edits.intel_rdt
            and (edits.intel_rdt.schemata is not None or edits.intel_rdt.enable_monitoring)
        )
        for edits in _all_edits(spec)
    )


def _uses_rdt_or_groups(spec: Spec) -> bool:
    return any(edits.intel_rdt or edits.additional_gids for edits in _all_edits(spec))


def _uses_annotations_or_dots(spec: Spec) -> bool:
    annotated = any(part.annotations for part in (spec, *(spec.devices or ())))
    return annotated or "." in spec.kind.partition("/")[2]


def _uses_host_paths_or_digits(spec: Spec) -> bool:
    nodes = [node for edits in _all_edits(spec) for node in edits.device_nodes or ()]
    names = [device.name for device in spec.devices or ()]
    return any(node.host_path for node in nodes) or any(
        not (name[0].isascii() and name[0].isalpha()) for name in names if name
    )


def _uses_mount_types(spec: Spec) -> bool:
    return any(mount.type for edits in _all_edits(spec) for mount in edits.mounts or ())


# The newest first: the error names the version that is really needed.
_SINCE: Final[tuple[tuple[str, Callable[[Spec], bool]], ...]] = (
    ("1.1.0", _uses_monitoring_or_interfaces),
    ("0.7.0", _uses_rdt_or_groups),
    ("0.6.0", _uses_annotations_or_dots),
    ("0.5.0", _uses_host_paths_or_digits),
    ("0.4.0", _uses_mount_types),
)


def _check_annotations(annotations: Mapping[str, str] | None) -> None:
    size = 0
    for name, value in (annotations or {}).items():
        check_annotation_name(name)
        size += len(name) + len(value)
    if size > ANNOTATIONS_LIMIT_BYTES:
        raise CdiError(f"annotations size {size} is larger than limit {ANNOTATIONS_LIMIT_BYTES}")


def _check_edits(edits: Edits) -> None:
    try:
        _check_env(edits.env or ())
    except CdiError as error:
        raise CdiError(f"invalid container edits: {error}") from error
    for node in edits.device_nodes or ():
        _check_node(node)
    for hook in edits.hooks or ():
        _check_hook(hook)
    for mount in edits.mounts or ():
        if not mount.host_path:
            raise CdiError("invalid mount, empty host path")
        if not mount.container_path:
            raise CdiError("invalid mount, empty container path")
    if edits.intel_rdt:
        _check_intel_rdt(edits.intel_rdt)
    for device in edits.net_devices or ():
        _check_net_device(device)


def _check_env(env: Iterable[str]) -> None:
    for entry in env:
        if entry.find("=") <= 0:
            raise CdiError(f"invalid environment variable {json.dumps(entry)}")


def _check_node(node: DeviceNode) -> None:
    if not node.path:
        raise CdiError("invalid (empty) device path")
    shown = json.dumps(node.path)
    if node.type not in _DEVICE_TYPES:
        raise CdiError(f"device {shown}: invalid type {json.dumps(node.type)}")
    if node.major < 0 or node.minor < 0:
        raise CdiError(
            f"device {shown}: invalid (negative) device number {node.major}:{node.minor}"
        )
    if node.permissions != NO_PERMISSIONS and node.permissions.strip("rwm"):
        raise CdiError(f"device {shown}: invalid permissions {json.dumps(node.permissions)}")


def _check_hook(hook: Hook) -> None:
    shown = json.dumps(hook.hook_name)
    if hook.hook_name not in HOOKS:
        raise CdiError(f"invalid hook name {shown}")
    if not hook.path:
        raise CdiError(f"invalid hook {shown} with empty path")
    try:
        _check_env(hook.env or ())
    except CdiError as error:
        raise CdiError(f"invalid hook {shown}: {error}") from error


def _check_intel_rdt(rdt: IntelRdt) -> None:
    closid = rdt.clos_id
    is_root = closid == "/"
    if not is_root and (len(closid) >= 4096 or closid in (".", "..") or set(closid) & set("/\n")):
        raise CdiError("invalid ClosID")


def _check_net_device(device: NetDevice) -> None:
    if not device.host_interface_name:
        raise CdiError("invalid linux net device, empty HostInterfaceName")
    if not device.name:
        raise CdiError("invalid linux net device, empty Name")
