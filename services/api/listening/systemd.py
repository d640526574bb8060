"""Sockets that systemd opened for us.

Source: sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; descriptors from 3 on.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.api.listening.hosts import FdHost, InvalidHostError

FIRST_FD: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivatedSockets:
    """The names of the descriptors that were passed, in order; the first is descriptor 3."""

    names: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, pid: int) -> ActivatedSockets:
        """Read the environment of the process `pid`; empty unless it was meant for us."""
        if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdigit():
            return cls()
        count = int(environ["LISTEN_FDS"])
        named = environ.get("LISTEN_FDNAMES", "").split(":")
        return cls(names=tuple((named[i] if i < len(named) else "") for i in range(count)))

    def select(self, host: FdHost) -> tuple[int, ...]:
        """The descriptors that an fd:// host means: all, those of a name, or the one of a number.

        Raises:
            InvalidHostError: there are none.
        """
        if not self.names:
            raise InvalidHostError(
                "no sockets found via socket activation: "
                "make sure the service was started by systemd"
            )
        found = [FIRST_FD + i for i, name in enumerate(self.names) if host.name in {"", name}]
        if host.name.isdigit() and FIRST_FD <= int(host.name) < FIRST_FD + len(self.names):
            found = [int(host.name)]
        if not found:
            raise InvalidHostError(f"no socket named {host.name!r} was passed in by systemd")
        return tuple(found)


def adopt(descriptor: int) -> socket.socket:
    """A descriptor from systemd as a socket: not inherited by our children, known to listen.

    Raises:
        InvalidHostError: it is not a listening stream socket.
    """
    os.set_inheritable(descriptor, False)
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise InvalidHostError(f"descriptor {descriptor} is not a socket: {error}") from error
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise InvalidHostError(f"descriptor {descriptor} is not a listening socket")
    return sock
