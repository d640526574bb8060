"""Sockets that live in a container's namespace and are served from here.

The kernel keeps a socket in the namespace in which it was made, and the namespace as long as there
is a socket. Every function blocks for about a millisecond and is called in a thread.
"""

from __future__ import annotations

import errno
import os
import socket
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.networks.dns.redirect import SERVER, redirect
from services.networks.kernel.netns import in_namespace

_BACKLOG: Final = 16
_RECEIVE_BYTES: Final = 1 << 20
"""Questions that wait while the loop is busy, or its child begins anew: some thousands."""

_FIRST_PORT, _PORTS = 33000, 27000
_IP_FREEBIND: Final = 15
_SO_RCVBUFFORCE: Final = 33


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a container's questions arrive."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        """Let go of the namespace."""
        self.udp.close()
        self.tcp.close()


def listen_in(namespace: Path, name: str) -> Listening:
    """Listen in a namespace, and have port 53 of 127.0.0.11 lead there.

    The ports depend on `name`, if they are free: flows that the kernel remembers from an earlier
    daemon then still lead to somebody.

    Raises:
        OSError: there is no such namespace, or it cannot be done in it.
    """

    def listen() -> Listening:
        with ExitStack() as undo:
            udp = undo.enter_context(_socket(socket.SOCK_DGRAM))
            udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            _bind(udp, name)
            tcp = undo.enter_context(_socket(socket.SOCK_STREAM))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(tcp, name)
            tcp.listen(_BACKLOG)
            redirect(udp.getsockname()[1], tcp.getsockname()[1])
            undo.pop_all()
        return Listening(udp, tcp)

    return in_namespace(namespace, listen)


def socket_in(namespace: Path, family: int, kind: int) -> socket.socket:
    """A socket of a namespace, to ask others from there. Raises OSError."""
    return in_namespace(namespace, lambda: open_socket(family, kind))


def open_socket(family: int, kind: int) -> socket.socket:
    """A socket that does not block, of the namespace of the calling thread. Raises OSError."""
    return socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def _socket(kind: int) -> socket.socket:
    opened = open_socket(socket.AF_INET, kind)
    opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # the loopback may not be up yet
    return opened


def _bind(opened: socket.socket, name: str) -> None:
    port = _FIRST_PORT + zlib.crc32(os.fsencode(name)) % _PORTS
    try:
        opened.bind((str(SERVER), port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        opened.bind((str(SERVER), 0))
