"""Applying edits to an OCI spec. Blocks: it looks at the host's device files.

Source: CDI, pkg/cdi/container-edits.go.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

from services.containers.cdi.checks import NO_PERMISSIONS
from services.containers.cdi.names import CdiError
from services.containers.cdi.schema import DeviceNode, Edits, Hook, IntelRdt, Mount

Json = dict[str, Any]

_FIFO: Final = "p"


def apply_edits(spec: Json, edits: Edits) -> None:
    """Change `spec`, which must have a process, mounts and linux.resources. Blocks.

    Raises:
        CdiError: a device file is missing or another than the edits say, or the runtime lacks
            what is asked for; `spec` is of no use then.
    """
    _refuse_newer_than_runc_1_1(edits)
    process: Json = spec["process"]
    _set_env(process, edits.env or ())
    for node in edits.device_nodes or ():
        _add_device(spec["linux"], process["user"], node)
    if edits.mounts:
        _set_mounts(spec, edits.mounts)
    for hook in edits.hooks or ():
        spec.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(_hook(hook))
    if edits.intel_rdt:
        spec["linux"]["intelRdt"] = _intel_rdt(edits.intel_rdt)
    groups: list[int] = process["user"].setdefault("additionalGids", [])
    groups += [gid for gid in dict.fromkeys(edits.additional_gids or ()) if gid not in (0, *groups)]


def _refuse_newer_than_runc_1_1(edits: Edits) -> None:
    """A runtime passes over what it does not know, and the container would lack its device."""
    if edits.net_devices:
        raise CdiError("network devices need a runtime of OCI's version 1.3, which runc 1.1 is not")
    if edits.intel_rdt and (edits.intel_rdt.schemata or edits.intel_rdt.enable_monitoring):
        raise CdiError(
            "schemata and monitoring of Intel RDT need a runtime of OCI's version 1.3, "
            "which runc 1.1 is not"
        )


def _set_env(process: Json, entries: Iterable[str]) -> None:
    """A variable that is there already keeps its place."""
    env: list[str] = process["env"]
    for entry in entries:
        name = entry.partition("=")[0]
        places = [i for i, old in enumerate(env) if old.partition("=")[0] == name]
        if places:
            env[places[-1]] = entry
        else:
            env.append(entry)


def _add_device(linux: Json, user: Json, node: DeviceNode) -> None:
    kind, major, minor = _numbers(node)
    device: Json = {"path": node.path, "type": kind, "major": major, "minor": minor}
    if node.file_mode is not None:
        device["fileMode"] = node.file_mode
    for name, own in (("uid", node.uid), ("gid", node.gid)):
        # Its user may use it, unless that is root, who may anyway.
        owner = own if own is not None else user.get(name) or None
        if owner is not None:
            device[name] = owner
    others = [other for other in linux.get("devices", ()) if other["path"] != node.path]
    linux["devices"] = [*others, device]
    if kind in ("b", "c"):
        access = "" if node.permissions == NO_PERMISSIONS else node.permissions or "rwm"
        rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
        linux["resources"].setdefault("devices", []).append(rule)


def _numbers(node: DeviceNode) -> tuple[str, int, int]:
    """Type, major and minor; what the edits leave out is the host's."""
    if node.type and (node.major or node.type == _FIFO):
        return node.type, node.major, node.minor
    path = node.host_path or node.path
    try:
        info = os.lstat(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise _no_device(path, reason) from error
    kind = _kind(info.st_mode)
    if not kind:
        raise _no_device(path, "not a device node")
    if node.type and node.type != kind:
        raise CdiError(
            f"CDI device ({json.dumps(node.path)}, {json.dumps(path)}), "
            f"host type mismatch ({node.type}, {kind})"
        )
    if kind == _FIFO or node.major:
        return kind, node.major, node.minor
    return kind, os.major(info.st_rdev), os.minor(info.st_rdev)


def _no_device(path: str, reason: str) -> CdiError:
    return CdiError(f"failed to stat CDI host device {json.dumps(path)}: {reason}")


def _kind(mode: int) -> str:
    for is_kind, letter in ((stat.S_ISBLK, "b"), (stat.S_ISCHR, "c"), (stat.S_ISFIFO, _FIFO)):
        if is_kind(mode):
            return letter
    return ""


def _set_mounts(spec: Json, mounts: Iterable[Mount]) -> None:
    """A mount at the same place is replaced; parents stay before children."""
    for mount in mounts:
        entry: Json = {"destination": mount.container_path, "source": mount.host_path}
        entry |= {"type": mount.type} if mount.type else {}
        entry |= {"options": mount.options} if mount.options else {}
        kept = [old for old in spec["mounts"] if old["destination"] != mount.container_path]
        spec["mounts"] = [*kept, entry]
    spec["mounts"].sort(key=lambda mount: len(PurePosixPath(mount["destination"]).parts))


def _hook(hook: Hook) -> Json:
    optional = {"args": hook.args, "env": hook.env, "timeout": hook.timeout}
    return {"path": hook.path, **{name: value for name, value in optional.items() if value}}


def _intel_rdt(rdt: IntelRdt) -> Json:
    section: Json = {
        "closID": rdt.clos_id,
        "l3CacheSchema": rdt.l3_cache_schema,
        "memBwSchema": rdt.mem_bw_schema,
        "enableCMT": rdt.enable_cmt,
        "enableMBM": rdt.enable_mbm,
    }
    return {name: value for name, value in section.items() if value}
