"""containerd's introspection service."""

from __future__ import annotations

from typing import Final

from protos.generated.containerd.services.introspection.v1 import (
    PluginsRequest,
    PluginsResponse,
    ServerResponse,
)
from protos.generated.wire import Empty

from ._method import Method
from .connection import Connection
from .values import PluginInfo

_SERVICE: Final = "containerd.services.introspection.v1.Introspection"
PLUGINS: Final = Method(
    service=_SERVICE, name="Plugins", request=PluginsRequest, reply=PluginsResponse
)
SERVER: Final = Method(service=_SERVICE, name="Server", request=Empty, reply=ServerResponse)


class Introspection:
    """What this containerd consists of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def plugins(self, *filters: str) -> list[PluginInfo]:
        """Its plugins, also those that did not load."""
        reply = await self._connection.unary(PLUGINS, PluginsRequest(filters=list(filters)))
        return [
            PluginInfo(
                type=plugin.type,
                id=plugin.id,
                exports=dict(plugin.exports),
                capabilities=tuple(plugin.capabilities),
                error=plugin.init_err.message if plugin.init_err else "",
            )
            for plugin in reply.plugins
        ]

    async def uuid(self) -> str:
        """The id that this containerd gave itself on its first start."""
        return (await self._connection.unary(SERVER, Empty())).uuid
