"""containerd's containers service: the records; what runs is in `tasks`."""

from __future__ import annotations

from typing import Final

from grpclib.const import Cardinality

from protos.generated.containerd.services.containers.v1 import (
    Container,
    ContainerRuntime,
    CreateContainerRequest,
    CreateContainerResponse,
    DeleteContainerRequest,
    GetContainerRequest,
    GetContainerResponse,
    ListContainerMessage,
    ListContainersRequest,
    UpdateContainerRequest,
    UpdateContainerResponse,
)
from protos.generated.wire import Any, Empty, FieldMask

from ._method import SLOW_RPC_LIMIT_S, Method
from ._wire import SPEC_TYPE_URL, from_runc_options, to_ns, to_runc_options
from .connection import Connection
from .values import ContainerRecord

_SERVICE: Final = "containerd.services.containers.v1.Containers"
GET: Final = Method(
    service=_SERVICE, name="Get", request=GetContainerRequest, reply=GetContainerResponse
)
LIST: Final = Method(
    service=_SERVICE,
    name="ListStream",
    request=ListContainersRequest,
    reply=ListContainerMessage,
    cardinality=Cardinality.UNARY_STREAM,
)
CREATE: Final = Method(
    service=_SERVICE, name="Create", request=CreateContainerRequest, reply=CreateContainerResponse
)
UPDATE: Final = Method(
    service=_SERVICE, name="Update", request=UpdateContainerRequest, reply=UpdateContainerResponse
)
# Deleting may run a garbage collection first.
DELETE: Final = Method(
    service=_SERVICE,
    name="Delete",
    request=DeleteContainerRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)


class Containers:
    """Records of containers. NotFound and AlreadyExists as the names say; `id` is the key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, record: ContainerRecord) -> ContainerRecord:
        """Store a record; what comes back has its times."""
        request = CreateContainerRequest(container=_to_message(record))
        reply = await self._connection.unary(CREATE, request, record.id)
        return _to_record(reply.container)

    async def get(self, id: str) -> ContainerRecord:
        """The record of container `id`."""
        reply = await self._connection.unary(GET, GetContainerRequest(id=id), id)
        return _to_record(reply.container)

    async def update(self, record: ContainerRecord, *fields: str) -> ContainerRecord:
        """Write the named `fields` of the record, or all that may change.

        Fields are containerd's paths: "labels", "labels.KEY", "spec", "image", "snapshot_key".
        """
        request = UpdateContainerRequest(
            container=_to_message(record),
            update_mask=FieldMask(paths=list(fields)) if fields else None,
        )
        reply = await self._connection.unary(UPDATE, request, record.id)
        return _to_record(reply.container)

    async def delete(self, id: str) -> None:
        """Remove the record. Neither its task nor its snapshot goes with it."""
        await self._connection.unary(DELETE, DeleteContainerRequest(id=id), id)

    async def list(self, *filters: str) -> list[ContainerRecord]:
        """Records that match any of the filters (containerd's syntax), all without one."""
        messages = await self._connection.collect(
            LIST, ListContainersRequest(filters=list(filters))
        )
        return [_to_record(message.container) for message in messages]


def _to_message(record: ContainerRecord) -> Container:
    return Container(
        id=record.id,
        labels=dict(record.labels),
        image=record.image,
        runtime=ContainerRuntime(
            name=record.runtime_name, options=from_runc_options(record.runtime_options)
        ),
        spec=Any(type_url=SPEC_TYPE_URL, value=record.spec),
        snapshotter=record.snapshotter,
        snapshot_key=record.snapshot_key,
    )


def _to_record(message: Container | None) -> ContainerRecord:
    assert message is not None, "containerd always sends the record"
    runtime = message.runtime or ContainerRuntime()
    return ContainerRecord(
        id=message.id,
        spec=message.spec.value if message.spec else b"",
        image=message.image,
        runtime_name=runtime.name,
        runtime_options=to_runc_options(runtime.options),
        snapshotter=message.snapshotter,
        snapshot_key=message.snapshot_key,
        labels=dict(message.labels),
        created_at_ns=to_ns(message.created_at),
        updated_at_ns=to_ns(message.updated_at),
    )
