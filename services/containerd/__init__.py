"""containerd: our own process, the connection to it, and a client for each service in use.

Nothing of gRPC, protobuf or asyncio leaves this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .content_writer import ContentWriter as ContentWriter
    from .errors import AlreadyExists as AlreadyExists
    from .errors import ShimGone as ShimGone
    from .events import ContainerdEvent as ContainerdEvent
    from .events import EventEnvelope as EventEnvelope
    from .events import EventStream as EventStream
    from .events import OtherEvent as OtherEvent
    from .events import TaskCreateEvent as TaskCreateEvent
    from .events import TaskDeleteEvent as TaskDeleteEvent
    from .events import TaskExecAddedEvent as TaskExecAddedEvent
    from .events import TaskExecStartedEvent as TaskExecStartedEvent
    from .events import TaskExitEvent as TaskExitEvent
    from .events import TaskOOMEvent as TaskOOMEvent
    from .events import TaskPausedEvent as TaskPausedEvent
    from .events import TaskResumedEvent as TaskResumedEvent
    from .events import TaskStartEvent as TaskStartEvent
    from .facade import Containerd as Containerd
    from .process import Process as Process
    from .process_config import ProcessConfig as ProcessConfig
    from .shims import Shims as Shims
    from .shims import end_shim as end_shim
    from .shims import find_shims as find_shims
    from .values import RUNC_V2 as RUNC_V2
    from .values import ContainerRecord as ContainerRecord
    from .values import ContentInfo as ContentInfo
    from .values import Descriptor as Descriptor
    from .values import ImageRecord as ImageRecord
    from .values import IngestStatus as IngestStatus
    from .values import Lease as Lease
    from .values import LeaseResource as LeaseResource
    from .values import Mount as Mount
    from .values import PluginInfo as PluginInfo
    from .values import ProcessId as ProcessId
    from .values import RuncOptions as RuncOptions
    from .values import SnapshotInfo as SnapshotInfo
    from .values import SnapshotKind as SnapshotKind
    from .values import SnapshotUsage as SnapshotUsage
    from .values import TaskExit as TaskExit
    from .values import TaskInfo as TaskInfo
    from .values import TaskMetrics as TaskMetrics
    from .values import TaskStatus as TaskStatus

__getattr__ = lazily.exports(
    __name__,
    {
        "content_writer": "ContentWriter",
        "errors": "AlreadyExists ShimGone",
        "events": "ContainerdEvent EventEnvelope EventStream OtherEvent TaskCreateEvent "
        "TaskDeleteEvent TaskExecAddedEvent TaskExecStartedEvent TaskExitEvent "
        "TaskOOMEvent TaskPausedEvent TaskResumedEvent TaskStartEvent",
        "facade": "Containerd",
        "process": "Process",
        "process_config": "ProcessConfig",
        "shims": "Shims end_shim find_shims",
        "values": "RUNC_V2 ContainerRecord ContentInfo Descriptor ImageRecord IngestStatus Lease "
        "LeaseResource Mount PluginInfo ProcessId RuncOptions SnapshotInfo SnapshotKind "
        "SnapshotUsage TaskExit TaskInfo TaskMetrics TaskStatus",
    },
)
