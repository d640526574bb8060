"""The OCI `mounts` list: the kernel's file systems, the engine's files, the user's mounts.

Source: moby, oci/defaults.go and daemon/oci_linux.go, WithMounts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

import msgspec

from services.containers.spec.modes import has_private_pids
from services.containers.spec.security import parse_security_options
from services.containers.spec.values import DEFAULT_PROPAGATION, Json, MountPoint, SpecInputs
from services.errors import InvalidParameter

INIT_PATH: Final = "/sbin/docker-init"
_RECURSIVE_SINCE: Final = (5, 12)  # mount_setattr
_SHM: Final = "/dev/shm"  # noqa: S108 - a path in the container
_LOCKED: Final = ("nosuid", "noexec", "nodev")
# Mounts that stay writable under a read-only root: programs cannot work without.
_WRITABLE_ALWAYS: Final = frozenset(("/proc", "/dev/pts", _SHM, "/dev/mqueue", "/dev"))

# Options of tmpfs that are a flag; those of one family exclude each other, the last one wins.
_FLAG_FAMILY: Final[Mapping[str, str]] = {
    "ro": "ro", "rw": "ro", "suid": "suid", "nosuid": "suid", "dev": "dev", "nodev": "dev",
    "exec": "exec", "noexec": "exec", "sync": "sync", "async": "sync", "dirsync": "dirsync",
    "mand": "mand", "nomand": "mand", "atime": "atime", "noatime": "atime",
    "diratime": "diratime", "nodiratime": "diratime", "relatime": "relatime",
    "norelatime": "relatime", "strictatime": "strictatime", "nostrictatime": "strictatime",
    "bind": "bind", "rbind": "rbind",
    "private": "propagation", "rprivate": "propagation", "shared": "propagation",
    "rshared": "propagation", "slave": "propagation", "rslave": "propagation",
    "unbindable": "propagation", "runbindable": "propagation",
}  # fmt: skip
_TMPFS_DATA: Final = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))


def container_mounts(inputs: SpecInputs) -> list[Json]:
    """All mounts, in the order in which the runtime makes them: parents before children.

    A user's mount replaces one of ours at the same place; one on /dev also all of ours below it.

    Raises:
        InvalidParameter: an option of a tmpfs that is none.
    """
    users = _user_mounts(inputs)
    taken = {str(mount["destination"]) for mount in users}
    own = [
        mount
        for mount in _own_mounts(inputs)
        if mount["destination"] not in taken
        and not ("/dev" in taken and str(mount["destination"]).startswith("/dev/"))
    ]
    mounts = [*own, *sorted(users, key=_depth)]
    if inputs.host_config.readonly_rootfs:
        mounts = [_made_read_only(mount, taken) for mount in mounts]
    return mounts


def root_propagation(mounts: Iterable[MountPoint]) -> str:
    """What the root needs so that shared and slave mounts in it work; "" is the default."""
    found = {mount.propagation for mount in mounts if mount.type in ("bind", "volume")}
    if found & {"shared", "rshared"}:
        return "shared"
    return "rslave" if found & {"slave", "rslave"} else ""


def wants_init(inputs: SpecInputs) -> bool:
    """Whether the engine's init comes first; it makes no sense in a PID namespace of others."""
    asked = inputs.host_config.init
    wanted = inputs.defaults.init if asked is msgspec.UNSET else asked
    return bool(wanted) and has_private_pids(inputs.host_config.pid_mode)


def merge_tmpfs_options(options: Sequence[str]) -> list[str]:
    """Drop every option that a later one overrides. The order of the others is kept.

    Raises:
        InvalidParameter: an option that tmpfs does not have.
    """
    kept: dict[str, str] = {}
    for option in reversed(options):
        if option == "defaults":
            continue
        name, separator, _ = option.partition("=")
        family = _FLAG_FAMILY.get(option)
        if family is None and not (separator and name in _TMPFS_DATA):
            shown = " ".join(json.dumps(part) for part in option.split("=", 1))
            raise InvalidParameter(f"invalid tmpfs option [{shown}]")
        kept.setdefault(family or f"{name}=", option)
    return list(reversed(kept.values()))


def _own_mounts(inputs: SpecInputs) -> list[Json]:
    host = inputs.host_config
    options = parse_security_options(host.security_opt or ())
    sys_access = "rw" if host.privileged else "ro"
    cgroup_access = "rw" if host.privileged or options.writable_cgroups else "ro"
    pts = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    mounts = [
        _mount("/proc", "proc", "proc", *_LOCKED),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *pts),
        _mount("/sys", "sysfs", "sysfs", *_LOCKED, sys_access),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *_LOCKED, cgroup_access),
        _mount("/dev/mqueue", "mqueue", "mqueue", *_LOCKED),
    ]
    if host.ipc_mode != "none":
        size = f"size={host.shm_size or inputs.defaults.shm_size_bytes}"
        mounts.append(_mount(_SHM, "tmpfs", "shm", *_LOCKED, "mode=1777", size))
    if wants_init(inputs):
        mounts.append(_mount(INIT_PATH, "bind", inputs.defaults.init_path, "bind", "ro"))
    return mounts


def _user_mounts(inputs: SpecInputs) -> list[Json]:
    """The user's mounts, and ours that they may replace: the network files, a shared shm."""
    host = inputs.host_config
    recursive = inputs.defaults.recursive_read_only and inputs.facts.kernel >= _RECURSIVE_SINCE
    mounts = {point.destination: _user_mount(point, recursive) for point in inputs.mounts}
    for path, data in (host.tmpfs or {}).items() if host.tmpfs is not msgspec.UNSET else ():
        destination = clean_path(path)
        mounts.setdefault(destination, _tmpfs(destination, data))
    files = (
        ("/etc/resolv.conf", inputs.files.resolv_conf),
        ("/etc/hostname", inputs.files.hostname),
        ("/etc/hosts", inputs.files.hosts),
    )
    access = ("ro",) if host.readonly_rootfs else ()
    for destination, source in files:
        if source:
            bind = _mount(destination, "bind", source, "rbind", *access, DEFAULT_PROPAGATION)
            mounts.setdefault(destination, bind)
    if inputs.shm_path and host.ipc_mode not in ("", "none", "private"):
        shm = _mount(_SHM, "bind", inputs.shm_path, "rbind", DEFAULT_PROPAGATION)
        mounts.setdefault(_SHM, shm)
    return list(mounts.values())


def _user_mount(mount: MountPoint, can_recurse: bool) -> Json:
    if mount.type == "tmpfs":
        return _tmpfs(mount.destination, mount.tmpfs_data)
    kind = "rbind" if mount.recursive else "bind"
    if mount.read_only_recursive and not can_recurse:
        raise InvalidParameter(
            f"cannot make {mount.destination} read-only with the mounts below it: "
            "kernel 5.12 and a runtime that knows rro are needed"
        )
    # Read-only means all of it where that can be had; a bind without submounts has no more.
    wanted = can_recurse and mount.recursive and mount.read_only_recursive is not False
    access = () if mount.rw else ("rro",) if wanted else ("ro",)
    propagation = (mount.propagation,) if mount.propagation else ()
    return _mount(mount.destination, "bind", mount.source, kind, *access, *propagation)


def _tmpfs(destination: str, data: str) -> Json:
    asked = [option for option in data.split(",") if option]
    options = merge_tmpfs_options([*_TMPFS_DEFAULTS, *asked])
    return _mount(destination, "tmpfs", "tmpfs", *options)


_TMPFS_DEFAULTS: Final = ("noexec", "nosuid", "nodev", DEFAULT_PROPAGATION)


def _made_read_only(mount: Json, taken: set[str]) -> Json:
    destination, options = mount["destination"], mount["options"]
    if destination in taken or destination in _WRITABLE_ALWAYS or "ro" in options:
        return mount
    return {**mount, "options": [*(o for o in options if o != "rw"), "ro"]}


def _depth(mount: Json) -> int:
    return len(PurePosixPath(mount["destination"]).parts)


def _mount(destination: str, type_: str, source: str, *options: str) -> Json:
    return {
        "destination": destination,
        "type": type_,
        "source": source,
        "options": [option for option in options if option != "rw" or type_ == "tmpfs"],
    }


def clean_path(path: str) -> str:
    """An absolute path with dots and double slashes worked out, as Go's path.Clean. No I/O."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
