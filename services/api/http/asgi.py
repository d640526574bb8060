"""The names of ASGI's parts, and what our server adds to a request's scope.

Source: ASGI 3.0, HTTP connection scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from services.api.http.drain import Drain
    from services.api.http.hijack import HijackedStream
    from services.api.http.transport import PeerCredentials

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSION: Final = "wharfinger.connection"
"""Key in `scope["extensions"]` of a `ConnectionExtension`; absent under HTTP/2."""


class ConnectionExtension(Protocol):
    """What a handler can do with the connection that ASGI has no words for."""

    @property
    def drain(self) -> Drain:
        """The server's drain: endless answers end when it begins."""

    async def hijack(self, head: bytes) -> HijackedStream:
        """Write `head`, then hand over the raw stream, bytes that were already read first.

        The stream is the caller's until its handler returns; the server closes it after that.

        Raises:
            RuntimeError: an answer has begun, the connection is hijacked already, or the request
                has a body that the handler left unread and that does not end soon.
        """

    def ignore_hang_up(self) -> None:
        """From now on the handler runs to its end, though its client may have gone.

        For changes that must not stop half-way; without it a hang-up cancels a handler that has
        been running for 0.1 s.
        """

    def peercred(self) -> PeerCredentials | None:
        """Who connected; None if not over a unix socket."""

    def peercert(self) -> dict[str, Any] | None:
        """The client's verified certificate, in ssl.SSLSocket.getpeercert's form; or None."""
