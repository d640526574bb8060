"""containerd's leases: what keeps new objects from its garbage collector."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from protos.generated.containerd.services.leases.v1 import (
    AddResourceRequest,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResourceRequest,
    ListRequest,
    ListResourcesRequest,
    ListResourcesResponse,
    ListResponse,
    Resource,
)
from protos.generated.containerd.services.leases.v1 import Lease as LeaseMessage
from protos.generated.wire import Empty

from ._method import SLOW_RPC_LIMIT_S, Method
from ._wire import to_ns
from .connection import Connection
from .values import Lease, LeaseResource

EXPIRE_LABEL: Final = "containerd.io/gc.expire"

_SERVICE: Final = "containerd.services.leases.v1.Leases"
CREATE: Final = Method(service=_SERVICE, name="Create", request=CreateRequest, reply=CreateResponse)
DELETE: Final = Method(
    service=_SERVICE,
    name="Delete",
    request=DeleteRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)
LIST: Final = Method(service=_SERVICE, name="List", request=ListRequest, reply=ListResponse)
ADD_RESOURCE: Final = Method(
    service=_SERVICE, name="AddResource", request=AddResourceRequest, reply=Empty
)
DELETE_RESOURCE: Final = Method(
    service=_SERVICE, name="DeleteResource", request=DeleteResourceRequest, reply=Empty
)
LIST_RESOURCES: Final = Method(
    service=_SERVICE,
    name="ListResources",
    request=ListResourcesRequest,
    reply=ListResourcesResponse,
)


class Leases:
    """Leases, by id. `Containerd.lease` puts what a call creates under one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self, id: str, *, expires_s: float | None = None, labels: Mapping[str, str] | None = None
    ) -> Lease:
        """Make a lease that ends by itself after `expires_s`, or only by `delete`."""
        all_labels = dict(labels or {})
        if expires_s is not None:
            all_labels[EXPIRE_LABEL] = _rfc3339(time.time() + expires_s)
        reply = await self._connection.unary(CREATE, CreateRequest(id=id, labels=all_labels), id)
        return _to_lease(reply.lease or LeaseMessage(id=id))

    async def delete(self, id: str, *, sync: bool = False) -> None:
        """End a lease; with `sync`, return once the garbage collector has been through."""
        await self._connection.unary(DELETE, DeleteRequest(id=id, sync=sync), id)

    async def add_resource(self, id: str, resource: LeaseResource) -> None:
        """Put an object that is there under the lease."""
        request = AddResourceRequest(id=id, resource=Resource(id=resource.id, type=resource.type))
        await self._connection.unary(ADD_RESOURCE, request, id)

    async def delete_resource(self, id: str, resource: LeaseResource) -> None:
        """Let the lease hold the object no longer."""
        request = DeleteResourceRequest(
            id=id, resource=Resource(id=resource.id, type=resource.type)
        )
        await self._connection.unary(DELETE_RESOURCE, request, id)

    async def resources(self, id: str) -> list[LeaseResource]:
        """What is under the lease."""
        reply = await self._connection.unary(LIST_RESOURCES, ListResourcesRequest(id=id), id)
        return [LeaseResource(id=each.id, type=each.type) for each in reply.resources]

    async def list(self, *filters: str) -> list[Lease]:
        """Leases that match any of the filters, all without one."""
        reply = await self._connection.unary(LIST, ListRequest(filters=list(filters)))
        return [_to_lease(lease) for lease in reply.leases]


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _to_lease(message: LeaseMessage) -> Lease:
    return Lease(
        id=message.id, created_at_ns=to_ns(message.created_at), labels=dict(message.labels)
    )
