"""containerd's snapshots: root file systems and the layers that they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from grpclib.const import Cardinality

from protos.generated.containerd.services.snapshots.v1 import (
    CommitSnapshotRequest,
    Info,
    Kind,
    ListSnapshotsRequest,
    ListSnapshotsResponse,
    MountsRequest,
    MountsResponse,
    PrepareSnapshotRequest,
    PrepareSnapshotResponse,
    RemoveSnapshotRequest,
    StatSnapshotRequest,
    StatSnapshotResponse,
    UpdateSnapshotRequest,
    UpdateSnapshotResponse,
    UsageRequest,
    UsageResponse,
    ViewSnapshotRequest,
    ViewSnapshotResponse,
)
from protos.generated.wire import Empty, FieldMask

from ._method import SLOW_RPC_LIMIT_S, Method
from ._wire import to_mounts, to_ns
from .connection import Connection
from .values import Mount, SnapshotInfo, SnapshotKind, SnapshotUsage

_SERVICE: Final = "containerd.services.snapshots.v1.Snapshots"
PREPARE: Final = Method(
    service=_SERVICE, name="Prepare", request=PrepareSnapshotRequest, reply=PrepareSnapshotResponse
)
VIEW: Final = Method(
    service=_SERVICE, name="View", request=ViewSnapshotRequest, reply=ViewSnapshotResponse
)
MOUNTS: Final = Method(service=_SERVICE, name="Mounts", request=MountsRequest, reply=MountsResponse)
# Committing and measuring walk the whole tree; removing may delete it before it returns.
COMMIT: Final = Method(
    service=_SERVICE,
    name="Commit",
    request=CommitSnapshotRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)
REMOVE: Final = Method(
    service=_SERVICE,
    name="Remove",
    request=RemoveSnapshotRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)
USAGE: Final = Method(
    service=_SERVICE,
    name="Usage",
    request=UsageRequest,
    reply=UsageResponse,
    limit_s=SLOW_RPC_LIMIT_S,
)
STAT: Final = Method(
    service=_SERVICE, name="Stat", request=StatSnapshotRequest, reply=StatSnapshotResponse
)
UPDATE: Final = Method(
    service=_SERVICE, name="Update", request=UpdateSnapshotRequest, reply=UpdateSnapshotResponse
)
LIST: Final = Method(
    service=_SERVICE,
    name="List",
    request=ListSnapshotsRequest,
    reply=ListSnapshotsResponse,
    cardinality=Cardinality.UNARY_STREAM,
)

_KIND: Final[Mapping[Kind, SnapshotKind]] = MappingProxyType(
    {
        Kind.VIEW: SnapshotKind.VIEW,
        Kind.ACTIVE: SnapshotKind.ACTIVE,
        Kind.COMMITTED: SnapshotKind.COMMITTED,
    }
)

Labels = Mapping[str, str]


class Snapshots:
    """One snapshotter's snapshots, by key. NotFound and AlreadyExists as the names say."""

    def __init__(self, connection: Connection, snapshotter: str) -> None:
        self._connection = connection
        self.snapshotter = snapshotter

    async def prepare(
        self, key: str, parent: str = "", labels: Labels | None = None
    ) -> list[Mount]:
        """A writable snapshot on the committed `parent`, or on nothing; how to mount it."""
        request = PrepareSnapshotRequest(
            snapshotter=self.snapshotter, key=key, parent=parent, labels=dict(labels or {})
        )
        return to_mounts((await self._connection.unary(PREPARE, request, key)).mounts)

    async def view(self, key: str, parent: str = "", labels: Labels | None = None) -> list[Mount]:
        """A read-only snapshot of the committed `parent`; how to mount it."""
        request = ViewSnapshotRequest(
            snapshotter=self.snapshotter, key=key, parent=parent, labels=dict(labels or {})
        )
        return to_mounts((await self._connection.unary(VIEW, request, key)).mounts)

    async def mounts(self, key: str) -> list[Mount]:
        """How to mount an active snapshot or a view."""
        request = MountsRequest(snapshotter=self.snapshotter, key=key)
        return to_mounts((await self._connection.unary(MOUNTS, request, key)).mounts)

    async def commit(self, name: str, key: str, labels: Labels | None = None) -> None:
        """Turn the active snapshot `key` into the committed one `name`; `key` is gone after it."""
        request = CommitSnapshotRequest(
            snapshotter=self.snapshotter, name=name, key=key, labels=dict(labels or {})
        )
        await self._connection.unary(COMMIT, request, key)

    async def stat(self, key: str) -> SnapshotInfo:
        """What is known of a snapshot of any kind."""
        request = StatSnapshotRequest(snapshotter=self.snapshotter, key=key)
        return _to_info((await self._connection.unary(STAT, request, key)).info or Info())

    async def update_labels(self, key: str, labels: Labels) -> SnapshotInfo:
        """Set these labels and leave the others; an empty value takes one away."""
        request = UpdateSnapshotRequest(
            snapshotter=self.snapshotter,
            info=Info(name=key, labels=dict(labels)),
            update_mask=FieldMask(paths=[f"labels.{label}" for label in labels]),
        )
        return _to_info((await self._connection.unary(UPDATE, request, key)).info or Info())

    async def remove(self, key: str) -> None:
        """Delete a snapshot. Conflict while another stands on it."""
        request = RemoveSnapshotRequest(snapshotter=self.snapshotter, key=key)
        await self._connection.unary(REMOVE, request, key)

    async def usage(self, key: str) -> SnapshotUsage:
        """What the snapshot takes by itself. The tree of an active one is walked: not for lists."""
        request = UsageRequest(snapshotter=self.snapshotter, key=key)
        reply = await self._connection.unary(USAGE, request, key)
        return SnapshotUsage(size_bytes=reply.size, inodes=reply.inodes)

    async def list(self, *filters: str) -> list[SnapshotInfo]:
        """Snapshots that match any of the filters, all without one."""
        request = ListSnapshotsRequest(snapshotter=self.snapshotter, filters=list(filters))
        replies = await self._connection.collect(LIST, request)
        return [_to_info(info) for reply in replies for info in reply.info]


def _to_info(message: Info) -> SnapshotInfo:
    return SnapshotInfo(
        name=message.name,
        parent=message.parent,
        kind=_KIND.get(message.kind, SnapshotKind.UNKNOWN),
        created_at_ns=to_ns(message.created_at),
        updated_at_ns=to_ns(message.updated_at),
        labels=dict(message.labels),
    )
