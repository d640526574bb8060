"""containerd's namespaces service."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from protos.generated.containerd.services.namespaces.v1 import (
    CreateNamespaceRequest,
    CreateNamespaceResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    Namespace,
)

from ._method import Method
from .connection import Connection
from .errors import AlreadyExists

_SERVICE: Final = "containerd.services.namespaces.v1.Namespaces"
LIST: Final = Method(
    service=_SERVICE, name="List", request=ListNamespacesRequest, reply=ListNamespacesResponse
)
CREATE: Final = Method(
    service=_SERVICE, name="Create", request=CreateNamespaceRequest, reply=CreateNamespaceResponse
)


class Namespaces:
    """containerd's namespaces, of which the engine uses one."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    async def ensure(self) -> None:
        """Make our namespace unless it is there."""
        request = CreateNamespaceRequest(namespace=Namespace(name=self._namespace))
        with suppress(AlreadyExists):
            await self._connection.unary(CREATE, request, self._namespace)

    async def list(self) -> list[str]:
        """The names of all namespaces."""
        reply = await self._connection.unary(LIST, ListNamespacesRequest())
        return [namespace.name for namespace in reply.namespaces]
