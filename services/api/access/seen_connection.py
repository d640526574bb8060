"""Taking a connection over, seen by a gate that stands before the app."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from services.api.http.asgi import EXTENSION, ConnectionExtension, Scope
from services.api.http.drain import Drain
from services.api.http.hijack import HijackedStream
from services.api.http.transport import PeerCredentials

Before = Callable[[bytes], Awaitable[object]]
"""Given the head with which the connection is about to leave HTTP; an error of it forbids that."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


def with_seen_connection(scope: Scope, before: Before) -> Scope:
    """A request's scope, in which `before` is called before its connection is taken over."""
    extensions = scope.get("extensions") or {}
    connection: ConnectionExtension | None = extensions.get(EXTENSION)
    if connection is None:
        return scope
    seen = _SeenConnection(connection, before)
    return {**scope, "extensions": {**extensions, EXTENSION: seen}}


def status_of(head: bytes) -> int:
    """The status that such a head has; 0: it has none."""
    found = _STATUS_LINE.match(head)
    return int(found[1]) if found else 0


class _SeenConnection:
    """A `ConnectionExtension` in front of another."""

    def __init__(self, connection: ConnectionExtension, before: Before) -> None:
        self._connection = connection
        self._before = before

    @property
    def drain(self) -> Drain:
        return self._connection.drain

    async def hijack(self, head: bytes) -> HijackedStream:
        await self._before(head)
        return await self._connection.hijack(head)

    def ignore_hang_up(self) -> None:
        self._connection.ignore_hang_up()

    def peercred(self) -> PeerCredentials | None:
        return self._connection.peercred()

    def peercert(self) -> dict[str, Any] | None:
        return self._connection.peercert()
