"""One listening socket, which servers take a dup() of."""

from __future__ import annotations

import socket
import ssl

from services.api.listening.hosts import Host, TcpHost
from services.errors import Unavailable


class Listener:
    """One listening socket. The object outlives the socket: it stands in servers' constructors."""

    def __init__(self, host: Host, *, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._tls = tls
        self._socket: socket.socket | None = None
        self._address = str(host)

    @property
    def address(self) -> str:
        """As the operator wrote it; for TCP, once open, with the port in use."""
        return self._address

    @property
    def host(self) -> Host:
        """What it was asked to listen on."""
        return self._host

    def set_tls(self, tls: ssl.SSLContext | None) -> None:
        """What connections get that are accepted from now on; those that are open keep theirs."""
        self._tls = tls

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Of TCP listeners only, as in dockerd."""
        if self._socket is not None and self._socket.family == socket.AF_UNIX:
            return None
        return self._tls

    def dup(self) -> socket.socket:
        """A descriptor of the caller's own on the listening socket.

        Raises:
            Unavailable: the listener is not open (now).
        """
        if self._socket is None:
            raise Unavailable(f"{self._host} is not open")
        return self._socket.dup()

    def attach(self, sock: socket.socket) -> None:
        """For `Listeners`: from now on `dup` copies this socket."""
        self._socket = sock
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            host, port = sock.getsockname()[:2]
            self._address = str(TcpHost(host=host, port=port))

    def detach(self) -> None:
        """For `Listeners`: the socket is about to be closed."""
        self._socket = None
