"""containerd's image store: names for manifests and indexes in the content store."""

from __future__ import annotations

from typing import Final

from protos.generated.containerd.services.images.v1 import (
    CreateImageRequest,
    CreateImageResponse,
    DeleteImageRequest,
    GetImageRequest,
    GetImageResponse,
    Image,
    ListImagesRequest,
    ListImagesResponse,
    UpdateImageRequest,
    UpdateImageResponse,
)
from protos.generated.wire import Empty, FieldMask

from ._method import SLOW_RPC_LIMIT_S, Method
from ._wire import from_descriptor, to_descriptor, to_ns
from .connection import Connection
from .values import ImageRecord

_SERVICE: Final = "containerd.services.images.v1.Images"
GET: Final = Method(service=_SERVICE, name="Get", request=GetImageRequest, reply=GetImageResponse)
LIST: Final = Method(
    service=_SERVICE, name="List", request=ListImagesRequest, reply=ListImagesResponse
)
CREATE: Final = Method(
    service=_SERVICE, name="Create", request=CreateImageRequest, reply=CreateImageResponse
)
UPDATE: Final = Method(
    service=_SERVICE, name="Update", request=UpdateImageRequest, reply=UpdateImageResponse
)
DELETE: Final = Method(
    service=_SERVICE,
    name="Delete",
    request=DeleteImageRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)


class Images:
    """Image records, by name. NotFound and AlreadyExists as the names say."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, record: ImageRecord) -> ImageRecord:
        """Store a record; what comes back has its times."""
        request = CreateImageRequest(image=_to_message(record))
        reply = await self._connection.unary(CREATE, request, record.name)
        return _to_record(reply.image)

    async def get(self, name: str) -> ImageRecord:
        """The image called `name`."""
        reply = await self._connection.unary(GET, GetImageRequest(name=name), name)
        return _to_record(reply.image)

    async def update(self, record: ImageRecord, *fields: str) -> ImageRecord:
        """Write the named `fields` ("target", "labels", "labels.KEY"), or all that may change."""
        request = UpdateImageRequest(
            image=_to_message(record),
            update_mask=FieldMask(paths=list(fields)) if fields else None,
        )
        reply = await self._connection.unary(UPDATE, request, record.name)
        return _to_record(reply.image)

    async def delete(self, name: str, *, sync: bool = False) -> None:
        """Remove the name; with `sync`, return once the garbage collector has been through."""
        request = DeleteImageRequest(name=name, sync=sync)
        await self._connection.unary(DELETE, request, name)

    async def list(self, *filters: str) -> list[ImageRecord]:
        """Images that match any of the filters (containerd's syntax), all without one."""
        reply = await self._connection.unary(LIST, ListImagesRequest(filters=list(filters)))
        return [_to_record(image) for image in reply.images]


def _to_message(record: ImageRecord) -> Image:
    return Image(
        name=record.name, labels=dict(record.labels), target=from_descriptor(record.target)
    )


def _to_record(message: Image | None) -> ImageRecord:
    assert message is not None, "containerd always sends the record"
    return ImageRecord(
        name=message.name,
        target=to_descriptor(message.target),
        labels=dict(message.labels),
        created_at_ns=to_ns(message.created_at),
        updated_at_ns=to_ns(message.updated_at),
    )
