"""Device files and the device cgroup's rules. `read_host_devices` blocks; the rest is pure.

Source: moby, oci/oci.go and oci/defaults.go.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from services.containers.config import DeviceMapping, HostConfig
from services.containers.spec.values import DeviceNode, HostDevices, Json
from services.errors import InvalidParameter

# null, zero, full, random, urandom, tty, console: what every container may open.
_ALWAYS: Final = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
_FUSE: Final = (10, 229)
_RULE: Final = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
# Directories of /dev with a file system of their own, and the console, which is made afresh.
_SKIPPED_DIRECTORIES: Final = frozenset(
    ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev")
)

_MAX_DIGITS: Final = 10


def device_rules(host: HostConfig, devices: HostDevices) -> list[Json]:
    """OCI `resources.devices`: deny all, allow the harmless, then what was asked for, in order.

    Raises:
        InvalidParameter: a --device-cgroup-rule that is none.
    """
    if host.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[Json] = [{"allow": False, "access": "rwm"}]
    rules.extend(_rule("c", major, minor, "rwm") for major, minor in _ALWAYS)
    rules.append({**_rule("c", *_FUSE, "rwm"), "allow": False})
    rules.extend(_rule(d.type, d.major, d.minor, d.access) for d in devices.mapped)
    rules.extend(parse_device_rule(text) for text in host.device_cgroup_rules or ())
    return rules


def parse_device_rule(text: str) -> Json:
    """One --device-cgroup-rule, such as "c 13:* rwm". A star is every number.

    Raises:
        InvalidParameter: the text has another form.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
    type_, major, minor, access = found.groups()
    if max(len(major), len(minor)) > _MAX_DIGITS:  # the kernel's numbers have 32 bits
        raise InvalidParameter(f"invalid device cgroup rule format: '{text[:100]}'")
    return _rule(type_, _number(major), _number(minor), access)


def _number(text: str) -> int:
    return -1 if text == "*" else int(text)


def device_nodes(host: HostConfig, devices: HostDevices) -> list[Json]:
    """OCI `linux.devices`: what to make in the container's /dev beyond the runtime's own few."""
    nodes = (*devices.all, *devices.mapped) if host.privileged else devices.mapped
    return [
        {
            "path": node.path,
            "type": node.type,
            "major": node.major,
            "minor": node.minor,
            "fileMode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
        }
        for node in {node.path: node for node in nodes}.values()
    ]


def read_host_devices(host: HostConfig) -> HostDevices:
    """Look at the device files that `host` names, and at all of /dev when privileged. Blocks.

    Raises:
        InvalidParameter: a path that is missing, or is no device.
    """
    mappings = host.devices or []
    if host.privileged:
        # All of the host's are there already under their own names.
        mappings = [m for m in mappings if m.path_on_host != m.path_in_container]
    return HostDevices(
        mapped=tuple(node for mapping in mappings for node in _mapped(mapping)),
        all=tuple(_walk(Path("/dev"))) if host.privileged else (),
        block_numbers=read_block_numbers(host),
    )


def read_block_numbers(host: HostConfig) -> Mapping[str, tuple[int, int]]:
    """Major and minor of each device that a limit of `host` names. Blocks.

    Raises:
        InvalidParameter: a path that is missing.
    """
    return MappingProxyType({path: _numbers(path) for path in _block_paths(host)})


def _mapped(mapping: DeviceMapping) -> list[DeviceNode]:
    """The device of one --device; for a directory, all devices under it.

    A symbolic link shows up under its own name, as the device that it leads to.
    """
    host, inside = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
    access = mapping.cgroup_permissions or "rwm"
    resolved = Path(os.path.realpath(host)) if Path(host).is_symlink() else Path(host)
    if host and resolved.is_dir():
        nodes = list(_walk(resolved, into=inside, access=access))
    else:
        nodes = [node] if (node := _node(resolved, inside, access)) else []
    if not nodes:
        is_there = bool(host) and resolved.exists()
        reason = "not a device node" if is_there else "no such file or directory"
        raise InvalidParameter(
            f'error gathering device information while adding custom device "{host}": {reason}'
        )
    return nodes


def _walk(directory: Path, *, into: str = "", access: str = "rwm") -> Iterator[DeviceNode]:
    """Every device file below `directory`; shown below `into`, or where it is."""
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED_DIRECTORIES)
        for name in sorted(files):
            path = Path(folder) / name
            inside = f"{into}/{path.relative_to(directory)}" if into else str(path)
            if name != "console" and (node := _node(path, inside, access)):
                yield node


def _node(path: Path, inside: str, access: str) -> DeviceNode | None:
    try:
        info = path.lstat()
    except (OSError, ValueError):  # the latter: a null byte
        return None
    if stat.S_ISBLK(info.st_mode):
        kind = "b"
    elif stat.S_ISCHR(info.st_mode):
        kind = "c"
    else:
        return None
    return DeviceNode(
        path=inside,
        type=kind,
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        access=access,
    )


def _block_paths(host: HostConfig) -> list[str]:
    throttles = (
        host.blkio_device_read_bps,
        host.blkio_device_write_bps,
        host.blkio_device_read_iops,
        host.blkio_device_write_iops,
    )
    weights = [device.path for device in host.blkio_weight_device or ()]
    return weights + [device.path for devices in throttles for device in devices or ()]


def _numbers(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError as error:
        raise InvalidParameter(f"stat {path}: {(error.strerror or '').lower()}") from error
    except ValueError as error:  # a null byte, which the kernel is not asked about
        raise InvalidParameter(f"stat {path}: invalid argument") from error
    return os.major(info.st_rdev), os.minor(info.st_rdev)


def _rule(type_: str, major: int, minor: int, access: str) -> Json:
    return {"allow": True, "type": type_, "major": major, "minor": minor, "access": access}


def check_device_access(mappings: Sequence[DeviceMapping]) -> None:
    """Raise InvalidParameter for cgroup permissions other than letters of "rwm"."""
    for mapping in mappings:
        access = mapping.cgroup_permissions
        if access and (set(access) - set("rwm") or len(set(access)) != len(access)):
            raise InvalidParameter(f"invalid device mode: {access}")
