"""What the rest of the engine sees of containerd: values, none of which can talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RUNC_V2: Final = "io.containerd.runc.v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A blob by its digest, as the OCI image specification has it."""

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file system to mount, in mount(8)'s words. `target` is relative to the root, or empty."""

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuncOptions:
    """Options of the runc v2 shim (message containerd.runc.v1.Options); empty is its default."""

    binary_name: str = ""
    root: str = ""
    shim_cgroup: str = ""
    systemd_cgroup: bool = False
    no_pivot_root: bool = False
    no_new_keyring: bool = False
    io_uid: int = 0
    io_gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """containerd's record of a container; what runs is its task. Times are 0 until it is stored."""

    id: str
    spec: bytes  # the OCI runtime spec, JSON
    image: str = ""
    runtime_name: str = RUNC_V2
    runtime_options: RuncOptions | None = None
    snapshotter: str = ""
    snapshot_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at_ns: int = 0
    updated_at_ns: int = 0


class TaskStatus(StrEnum):
    """What the shim says of a process."""

    UNKNOWN = "unknown"
    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    PAUSING = "pausing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExit:
    """How a process ended."""

    code: int  # 0-255; 128 + N when signal N ended the process
    exited_at_ns: int  # by the shim's clock, not when we heard


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """A task, or a process of one that exec added."""

    id: str  # the container's, or the exec's
    pid: int  # on the host; 0 once it is gone
    status: TaskStatus
    exit_code: int
    exited_at_ns: int  # 0 while it has not exited
    stdin: str
    stdout: str
    stderr: str
    terminal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process in a container. `exec_id` is empty for those that exec did not start."""

    pid: int
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetrics:
    """What the shim measured; `data` is a message of type `type_url` (cgroups metrics)."""

    timestamp_ns: int
    type_url: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentInfo:
    """A blob in the content store."""

    digest: str
    size_bytes: int
    created_at_ns: int
    updated_at_ns: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestStatus:
    """A blob that is being written, or whose writer went away."""

    ref: str
    offset_bytes: int
    total_bytes: int  # 0 when the writer did not say
    expected: str  # digest, or empty
    started_at_ns: int
    updated_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """A name for an image in containerd's image store."""

    name: str
    target: Descriptor
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at_ns: int = 0
    updated_at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What keeps objects from containerd's garbage collector until it is deleted or expires."""

    id: str
    created_at_ns: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseResource:
    """An object under a lease. `type` is containerd's: "content", "snapshots/overlayfs", ..."""

    id: str
    type: str


class SnapshotKind(StrEnum):
    """View and active snapshots can be mounted; only committed ones can be a parent."""

    UNKNOWN = "unknown"
    VIEW = "view"
    ACTIVE = "active"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """A snapshot of the snapshotter in use."""

    name: str
    parent: str
    kind: SnapshotKind
    created_at_ns: int
    updated_at_ns: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUsage:
    """What a snapshot takes by itself, without its parents."""

    size_bytes: int
    inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """A plugin of containerd; `error` says why it did not load, and is empty for one that did."""

    type: str
    id: str
    exports: Mapping[str, str]
    capabilities: tuple[str, ...]
    error: str
