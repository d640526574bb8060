"""What registries need of the rest of the engine, no wider."""

# The contracts stand at the classes that carry them out: services.containerd, services.images.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from services.containerd.values import ContentInfo, ImageRecord, IngestStatus, Lease, LeaseResource
from services.images import Image, OciDescriptor, Reference
from services.images.unpack import UnpackSteps


class BlobWriter(Protocol):
    """A blob on its way into the content store; `offset` is where the next write goes."""

    @property
    def offset(self) -> int: ...
    async def write(self, data: bytes | memoryview) -> None: ...
    async def commit(self, labels: Mapping[str, str] | None = None) -> str: ...


class ContentClient(Protocol):
    """Blobs by their digest."""

    def writer(
        self, ref: str, total: int = 0, expected: str = ""
    ) -> AbstractAsyncContextManager[BlobWriter]: ...
    async def abort(self, ref: str) -> None: ...
    async def info(self, digest: str) -> ContentInfo: ...
    def read(self, digest: str, offset: int = 0, size: int = 0) -> AsyncGenerator[bytes, None]: ...
    async def read_all(self, digest: str, limit_bytes: int) -> bytes: ...
    async def update_labels(self, digest: str, labels: Mapping[str, str]) -> ContentInfo: ...
    async def statuses(self) -> Sequence[IngestStatus]: ...


class ImageRecords(Protocol):
    """Names for targets."""

    async def get(self, name: str) -> ImageRecord: ...
    async def list(self, *filters: str) -> Sequence[ImageRecord]: ...


class LeaseClient(Protocol):
    """What keeps objects from the collector while they are made."""

    async def create(self, id: str, *, expires_s: float | None = None) -> object: ...
    async def delete(self, id: str, *, sync: bool = False) -> None: ...
    async def list(self, *filters: str) -> Sequence[Lease]: ...
    async def resources(self, id: str) -> Sequence[LeaseResource]: ...


class ContainerdClient(Protocol):
    """The clients of one containerd and one namespace."""

    @property
    def content(self) -> ContentClient: ...
    @property
    def images(self) -> ImageRecords: ...
    @property
    def leases(self) -> LeaseClient: ...
    def lease(self, id: str) -> AbstractContextManager[object]: ...


class ImageStore(Protocol):
    """The images that are here."""

    async def resolve(self, ref: str) -> Image: ...
    async def unpack(
        self,
        config: OciDescriptor,
        layers: Sequence[OciDescriptor],
        diff_ids: Sequence[str],
        *,
        lease_id: str,
        steps: UnpackSteps,
    ) -> None: ...
    async def name_pulled(self, reference: Reference, target: OciDescriptor) -> None: ...
    async def tell_pushed(self, reference: Reference) -> None: ...
