"""Listening sockets as the system has them: opened, owned, and taken away."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.api.listening.hosts import TcpHost

BACKLOG: Final = 4096
"""Asked for; the kernel cuts it to net.core.somaxconn."""

SOCKET_MODE: Final = 0o660

DEFAULT_GROUP: Final = "docker"

PROBE_S: Final = 1.0


class ListenError(Exception):
    """A listener cannot be opened; the daemon does not start."""


def group_id(group: str) -> int:
    """The gid of a unix socket: by name or number, our own for "" and for a missing default group.

    Raises:
        ListenError: there is no such group.
    """
    if not group:
        return os.getgid()
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isascii() and group.isdigit():
            return int(group)
        if group != DEFAULT_GROUP:
            raise ListenError(f"group {group} not found") from None
        logger.bind(service="listeners").warning(
            "no such group: the API's socket stays with the daemon's own", group=group
        )
        return os.getgid()


async def open_unix(path: Path, gid: int) -> socket.socket:
    """A listening socket file, mode 0660. A file that nobody listens on any more is replaced.

    Raises:
        ListenError: somebody listens there, it is not a socket, or the system refuses.
    """
    if await _is_alive(path):
        raise ListenError(f"listen unix {path}: bind: address already in use")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Between bind and chmod nobody may connect who could not afterwards.
        previous = os.umask(0o777)
        try:
            sock.bind(str(path))
        finally:
            os.umask(previous)
        os.chown(path, -1, gid)
        os.chmod(path, SOCKET_MODE)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"listen unix {path}: bind: {error.strerror or error}") from error
    return sock


async def _is_alive(path: Path) -> bool:
    """Whether somebody listens there. A full backlog counts: its owner is merely busy."""
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with trio.fail_after(PROBE_S):
                await probe.connect(str(path))
        except trio.TooSlowError:
            return True
        except OSError as error:
            return error.errno in {errno.EAGAIN, errno.EPERM, errno.EACCES}
    return True


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the path exists and is not a socket")
    path.unlink()


def identity_of(path: Path) -> tuple[int, int]:
    """By what `unlink_if_same` knows a socket file again."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def unlink_if_same(path: Path, identity: tuple[int, int]) -> None:
    """Remove our socket file, not one that another daemon has put in its place."""
    try:
        if identity_of(path) == identity:
            path.unlink()
    except FileNotFoundError:
        pass


async def open_tcp(host: TcpHost) -> socket.socket:
    """A listening TCP socket on the first address of the host, IPv4 before IPv6 as in Go.

    Raises:
        ListenError: the name does not resolve, or the system refuses.
    """
    try:
        found = await trio.socket.getaddrinfo(
            host.host, host.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"listen {host}: {error.strerror or error}") from error
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"listen tcp {host.host}:{host.port}: bind: {(error.strerror or str(error)).lower()}"
        ) from error
    return sock
