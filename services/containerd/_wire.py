"""Between the messages on the wire and our values: what more than one client needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protos.generated.containerd.runc.v1 import Options
from protos.generated.containerd.types import Descriptor as DescriptorMessage
from protos.generated.containerd.types import Mount as MountMessage
from protos.generated.wire import Any, Timestamp

from .values import Descriptor, Mount, RuncOptions

# containerd names the type of JSON in an Any so (typeurl, prefix and path of the Go type).
SPEC_TYPE_URL: Final = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
PROCESS_TYPE_URL: Final = "types.containerd.io/opencontainers/runtime-spec/1/Process"
RESOURCES_TYPE_URL: Final = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
RUNC_OPTIONS_TYPE_URL: Final = "containerd.runc.v1.Options"

_NS: Final = 1_000_000_000


def to_ns(timestamp: Timestamp | None) -> int:
    """Nanoseconds since the epoch; 0 for none, which may also come as Go's zero time (year 1)."""
    if timestamp is None or timestamp.seconds < 0:
        return 0
    return timestamp.seconds * _NS + timestamp.nanos


def to_descriptor(message: DescriptorMessage | None) -> Descriptor:
    """A descriptor that is absent reads as an empty one, as proto3 has it."""
    if message is None:
        return Descriptor(media_type="", digest="", size_bytes=0)
    return Descriptor(
        media_type=message.media_type,
        digest=message.digest,
        size_bytes=message.size,
        annotations=dict(message.annotations),
    )


def from_descriptor(value: Descriptor) -> DescriptorMessage:
    """The message for a descriptor."""
    return DescriptorMessage(
        media_type=value.media_type,
        digest=value.digest,
        size=value.size_bytes,
        annotations=dict(value.annotations),
    )


def to_mounts(messages: Iterable[MountMessage]) -> list[Mount]:
    """Mounts, in the order in which they are to be made."""
    return [
        Mount(type=m.type, source=m.source, target=m.target, options=tuple(m.options))
        for m in messages
    ]


def from_mounts(values: Iterable[Mount]) -> list[MountMessage]:
    """The messages for mounts."""
    return [
        MountMessage(type=m.type, source=m.source, target=m.target, options=list(m.options))
        for m in values
    ]


def from_runc_options(value: RuncOptions | None) -> Any | None:
    """The packed options of the runc shim."""
    if value is None:
        return None
    message = Options(
        binary_name=value.binary_name,
        root=value.root,
        shim_cgroup=value.shim_cgroup,
        systemd_cgroup=value.systemd_cgroup,
        no_pivot_root=value.no_pivot_root,
        no_new_keyring=value.no_new_keyring,
        io_uid=value.io_uid,
        io_gid=value.io_gid,
    )
    return Any(type_url=RUNC_OPTIONS_TYPE_URL, value=bytes(message))


def to_runc_options(packed: Any | None) -> RuncOptions | None:
    """The options, or None when there are none or they are another runtime's."""
    if packed is None or packed.type_url.rpartition("/")[2] != RUNC_OPTIONS_TYPE_URL:
        return None
    message = Options.parse(packed.value)
    return RuncOptions(
        binary_name=message.binary_name,
        root=message.root,
        shim_cgroup=message.shim_cgroup,
        systemd_cgroup=message.systemd_cgroup,
        no_pivot_root=message.no_pivot_root,
        no_new_keyring=message.no_new_keyring,
        io_uid=message.io_uid,
        io_gid=message.io_gid,
    )
