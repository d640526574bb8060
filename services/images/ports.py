"""What the image store needs, no wider. services.containerd and services.events have it."""

# The contracts stand at the classes that carry them out.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from services.containerd.values import (
    ContentInfo,
    Descriptor,
    ImageRecord,
    IngestStatus,
    Lease,
    LeaseResource,
    Mount,
    SnapshotInfo,
    SnapshotUsage,
)
from services.events import Event

from .model import ImageId, ImageUse


class BlobWriter(Protocol):
    """A blob on its way into the content store; without a commit it stays an ingest.

    `offset`: bytes that the store has; the next write goes there. `digest`: of these, as far as it
    is known; after a commit that failed it is.
    """

    @property
    def offset(self) -> int: ...
    @property
    def digest(self) -> str: ...
    async def write(self, data: bytes) -> None: ...
    async def commit(
        self, labels: Mapping[str, str] | None = None, *, expected: str = "", total: int = 0
    ) -> str: ...


class ContentClient(Protocol):
    """Blobs by their digest."""

    def writer(
        self, ref: str, total: int = 0, expected: str = ""
    ) -> AbstractAsyncContextManager[BlobWriter]: ...
    async def abort(self, ref: str) -> None: ...
    async def clear_nameless(self) -> None: ...
    async def info(self, digest: str) -> ContentInfo: ...
    async def read_all(self, digest: str, limit_bytes: int) -> bytes: ...
    async def update_labels(self, digest: str, labels: Mapping[str, str]) -> ContentInfo: ...
    async def statuses(self) -> Sequence[IngestStatus]: ...


class BlobClient(Protocol):
    """Blobs' bytes."""

    def read(self, digest: str) -> AsyncGenerator[bytes, None]: ...


class ImageClient(Protocol):
    """Names for targets."""

    async def create(self, record: ImageRecord) -> ImageRecord: ...
    async def get(self, name: str) -> ImageRecord: ...
    async def update(self, record: ImageRecord) -> ImageRecord: ...
    async def delete(self, name: str, *, sync: bool = False) -> None: ...
    async def list(self, *filters: str) -> Sequence[ImageRecord]: ...


class LeaseClient(Protocol):
    """What keeps objects from the collector while they are made."""

    async def create(self, id: str, *, expires_s: float | None = None) -> object: ...
    async def delete(self, id: str, *, sync: bool = False) -> None: ...
    async def add_resource(self, id: str, resource: LeaseResource) -> None: ...
    async def list(self, *filters: str) -> Sequence[Lease]: ...


class SnapshotClient(Protocol):
    """Layers unpacked, and the writable ones of containers on top of them."""

    async def prepare(
        self, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]: ...
    async def view(
        self, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[Mount]: ...
    async def mounts(self, key: str) -> Sequence[Mount]: ...
    async def commit(self, name: str, key: str) -> None: ...
    async def stat(self, key: str) -> SnapshotInfo: ...
    async def remove(self, key: str) -> None: ...
    async def usage(self, key: str) -> SnapshotUsage: ...
    async def list(self, *filters: str) -> Sequence[SnapshotInfo]: ...


class DiffClient(Protocol):
    """Layers' tars applied to mounts, by containerd."""

    async def apply(self, descriptor: Descriptor, mounts: Sequence[Mount]) -> Descriptor: ...


class ContainerdEvents(Protocol):
    """What containerd tells of changes; the stream ends by an error only."""

    def subscribe(self, *filters: str) -> AbstractAsyncContextManager[AsyncIterable[object]]: ...


class ContainerdClient(Protocol):
    """The clients of one containerd and one namespace."""

    @property
    def content(self) -> ContentClient: ...
    @property
    def blobs(self) -> BlobClient: ...
    @property
    def images(self) -> ImageClient: ...
    @property
    def leases(self) -> LeaseClient: ...
    @property
    def snapshots(self) -> SnapshotClient: ...
    @property
    def diff(self) -> DiffClient: ...
    @property
    def events(self) -> ContainerdEvents: ...
    def lease(self, id: str) -> AbstractContextManager[object]: ...


class EventSink(Protocol):
    """Where the engine's events go; returns once they are on disk."""

    def commit(self, *events: Event) -> Awaitable[object]: ...


class ImageUsers(Protocol):
    """Who stands on an image; services.containers knows. Called often: must not block."""

    def __call__(self, image_id: ImageId, /) -> Sequence[ImageUse]: ...


class Body(Protocol):
    """A request body as it arrives."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
