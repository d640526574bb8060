"""A file of CDI's as it is written. Source: CDI, SPEC.md; members in camelCase, no others."""

from __future__ import annotations

import msgspec


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class DeviceNode(_Part, frozen=True, kw_only=True):
    """A device file. What is left out is read off the host's file `host_path`, or `path`."""

    path: str = ""
    host_path: str = ""
    type: str = ""  # "b", "c", "u" (c), "p"
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""  # letters of "rwm"; "" is all of them, "none" none
    uid: int | None = None
    gid: int | None = None


class Mount(_Part, frozen=True, kw_only=True):
    """A mount of a path of the host."""

    host_path: str = ""
    container_path: str = ""
    options: list[str] | None = None
    type: str = ""


class Hook(_Part, frozen=True, kw_only=True):
    """A program that the runtime calls; `timeout` in seconds."""

    hook_name: str = ""
    path: str = ""
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: int | None = None


class IntelRdt(_Part, frozen=True, kw_only=True):
    """Cache and memory bandwidth of Intel's processors."""

    clos_id: str = msgspec.field(name="closID", default="")
    l3_cache_schema: str = msgspec.field(name="l3CacheSchema", default="")
    mem_bw_schema: str = ""
    schemata: list[str] | None = None
    enable_monitoring: bool = False
    enable_cmt: bool = msgspec.field(name="enableCMT", default=False)
    enable_mbm: bool = msgspec.field(name="enableMBM", default=False)


class NetDevice(_Part, frozen=True, kw_only=True):
    """A network interface of the host that moves into the container."""

    host_interface_name: str = ""
    name: str = ""


class Edits(_Part, frozen=True, kw_only=True):
    """What is to be changed in a container's OCI spec."""

    env: list[str] | None = None
    device_nodes: list[DeviceNode] | None = None
    net_devices: list[NetDevice] | None = None
    hooks: list[Hook] | None = None
    mounts: list[Mount] | None = None
    intel_rdt: IntelRdt | None = None
    additional_gids: list[int] | None = msgspec.field(name="additionalGids", default=None)


class Device(_Part, frozen=True, kw_only=True):
    """One device; its edits are for containers that ask for it."""

    name: str = ""
    annotations: dict[str, str] | None = None
    container_edits: Edits = Edits()


class Spec(_Part, frozen=True, kw_only=True):
    """One file: the devices of one kind. Its edits are for containers with any of them."""

    version: str = msgspec.field(name="cdiVersion", default="")
    kind: str = ""
    annotations: dict[str, str] | None = None
    devices: list[Device] | None = None
    container_edits: Edits = Edits()


def joined(parts: list[Edits]) -> Edits:
    """All edits in order; of several IntelRdt the last."""

    def together(name: str) -> list[object] | None:
        return [item for part in parts for item in getattr(part, name) or ()] or None

    lists = ("env", "device_nodes", "net_devices", "hooks", "mounts", "additional_gids")
    fields: dict[str, object] = {name: together(name) for name in lists}
    fields["intel_rdt"] = next((p.intel_rdt for p in reversed(parts) if p.intel_rdt), None)
    return Edits(**fields)  # type: ignore[arg-type]  # each list is of its own field's items
