"""containerd's version service."""

from __future__ import annotations

from protos.generated.wire import Empty

from .connection import VERSION, Connection


class Versions:
    """Which containerd this is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self) -> tuple[str, str]:
        """Version and revision, as containerd spells them."""
        reply = await self._connection.unary(VERSION, Empty())
        return reply.version, reply.revision
