"""Who is at the other end of a connection, asked for only when somebody wants to know."""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import Any, Final, cast

from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.http.transport import PeerCredentials, Transport, peer_credentials

PEER_KEY: Final = "wharfinger.peer"
"""In an ASGI scope: the connection's `Peer`."""


class Peer:
    """A connection's client. The kernel's word for unix sockets, a verified certificate for TLS."""

    def __init__(self, transport: Transport, address: tuple[str, int] | None) -> None:
        self._transport = transport
        self.address = address  # host and port; None for a unix socket

    @cached_property
    def credentials(self) -> PeerCredentials | None:
        """Process, user and group as they were at connect(); None if not over a unix socket."""
        return peer_credentials(self._transport.socket)

    @cached_property
    def common_name(self) -> str:
        """Of the client's verified certificate; empty without one."""
        certificate = self._certificate
        if certificate is None:
            return ""
        for names in certificate.get("subject", ()):
            for key, value in names:
                if key == "commonName":
                    return str(value)
        return ""

    @cached_property
    def certificates(self) -> tuple[str, ...]:
        """The client's verified certificate in PEM, without those that vouch for it."""
        if self._certificate is None:
            return ()
        encoded = self._transport.peer_certificate_der()
        return () if encoded is None else (ssl.DER_cert_to_PEM_cert(encoded),)

    @cached_property
    def _certificate(self) -> dict[str, Any] | None:
        return self._transport.peer_certificate()


def peer_of(scope: Scope) -> Peer | None:
    """The client of a request; None where a server of somebody else's made the scope."""
    return cast("Peer | None", scope.get(PEER_KEY))


def with_peer(app: ASGIApp, peer: Peer) -> ASGIApp:
    """`app` for one connection that another server reads: its scopes know the peer too."""

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER_KEY] = peer
        await app(scope, receive, send)

    return known
