"""The listening sockets: opened once, kept while everything that serves on them restarts.

A restarting server takes a new dup() of a socket that never closed, so clients wait in its backlog
for a moment where they would otherwise be refused.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.api.hosts import FdHost, Host, TcpHost, UnixHost
from services.api.systemd import ActivatedSockets, adopt
from services.errors import Unavailable

BACKLOG: Final = 4096
"""Asked for; the kernel cuts it to net.core.somaxconn."""

SOCKET_MODE: Final = 0o660
DEFAULT_GROUP: Final = "docker"
PROBE_S: Final = 1.0


class ListenError(Exception):
    """A listener cannot be opened; the daemon does not start."""


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


@dataclass(slots=True, eq=False)
class _Planned:
    """One listener and where its socket comes from: an address, or a descriptor of systemd's.

    `opened` holds what closing takes; empty while it is not open.
    """

    listener: Listener
    source: Host | int
    group: str | None = None  # of its own; None: that of all
    opened: ExitStack = field(default_factory=ExitStack)


class Listeners:
    """All listeners of the daemon. `run` is a supervised child, started before any server.

    Which there are may be changed while it runs; what is changed holds after a restart too.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        *,
        group: str = DEFAULT_GROUP,
        tls: ssl.SSLContext | None = None,
        tls_verify: bool = False,
        activated: ActivatedSockets | None = None,
        scoped: Sequence[tuple[UnixHost, str]] = (),
    ) -> None:
        """`group` owns unix sockets, by name or gid; "" leaves them to the daemon's own.

        `scoped` are further sockets with groups of their own.

        Raises:
            InvalidHostError: an fd:// host for which systemd passed nothing.
        """
        self._group = group
        self._tls = tls
        self._tls_verify = tls_verify
        self._activated = activated or ActivatedSockets()
        self._is_open = False
        self._plan = [planned for host in hosts for planned in self._planned(host)]
        self._plan += [_Planned(Listener(host), host, owner) for host, owner in scoped]
        # Kept past a restart: nobody can open them again.
        self._adopted: dict[int, socket.socket] = {}

    def _planned(self, host: Host) -> list[_Planned]:
        sources: tuple[Host | int, ...] = (
            self._activated.select(host) if isinstance(host, FdHost) else (host,)
        )
        return [_Planned(Listener(host, tls=self._tls), source) for source in sources]

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """One for each socket of the hosts, in their order."""
        return tuple(planned.listener for planned in self._plan if planned.group is None)

    @property
    def scoped(self) -> tuple[Listener, ...]:
        """One for each scoped socket."""
        return tuple(planned.listener for planned in self._plan if planned.group is not None)

    async def run(
        self, *, task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Open all, keep them until cancelled, close them and remove the files that are still ours.

        Raises:
            ListenError: one cannot be opened; those that were opened are closed again.
        """
        try:
            for planned in self._plan:
                await self._open(planned)
            self._is_open = True
            task_status.started(self.listeners)
            await trio.sleep_forever()
        finally:
            self._is_open = False
            for planned in reversed(self._plan):
                planned.opened.close()

    # ── changes while it runs

    async def add(self, host: Host, *, tls: ssl.SSLContext | None) -> tuple[Listener, ...]:
        """Listen on one host more, with this TLS if it is TCP.

        Raises:
            ListenError, InvalidHostError: it cannot be; nothing has changed.
            Unavailable: the listeners are not open (now).
        """
        added = self._planned(host)
        for planned in added:
            planned.listener.set_tls(tls)
        await self._add(added)
        return tuple(planned.listener for planned in added)

    async def add_scoped(self, host: UnixHost, group: str) -> Listener:
        """Open one scoped socket more, for a group of its own. Raises as `add`."""
        planned = _Planned(Listener(host), host, group)
        await self._add([planned])
        return planned.listener

    async def _add(self, added: list[_Planned]) -> None:
        self._require_open()
        try:
            for planned in added:
                await self._open(planned)
                self._require_open()  # they may have been closed while we waited
        except BaseException:
            for planned in added:
                planned.opened.close()
            raise
        self._plan += added

    def remove(self, listener: Listener) -> None:
        """Close one. Clients that are connected are its server's to see to."""
        for planned in tuple(self._plan):
            if planned.listener is listener:
                self._plan.remove(planned)
                planned.opened.close()

    def set_tls(self, tls: ssl.SSLContext | None, *, verify: bool) -> None:
        """Of all, for connections that are accepted from now on."""
        self._tls, self._tls_verify = tls, verify
        for listener in self.listeners:
            if listener.tls is not tls:
                listener.set_tls(tls)
                self._warn(listener)

    def set_group(self, group: str) -> None:
        """Give the unix sockets to another group.

        Raises:
            ListenError: there is no such group, or the system refuses; nothing has changed.
        """
        gid = group_id(group)
        for planned in self._plan:
            if planned.group is None:
                self._hand_over(planned, gid)
        self._group = group

    def set_group_of(self, listener: Listener, group: str) -> None:
        """Give a scoped socket to another group. Raises as `set_group`."""
        gid = group_id(group)
        for planned in self._plan:
            if planned.listener is listener:
                self._hand_over(planned, gid)
                planned.group = group

    def _hand_over(self, planned: _Planned, gid: int) -> None:
        if isinstance(planned.source, UnixHost) and self._is_open:
            try:
                os.chown(planned.source.path, -1, gid)
            except OSError as error:
                reason = error.strerror or error
                raise ListenError(f"chown {planned.source.path}: {reason}") from error

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("the listeners are not open")

    async def _open(self, planned: _Planned) -> None:
        listener, stack = planned.listener, planned.opened
        listener.attach(await self._open_socket(planned, stack))
        stack.callback(listener.detach)
        self._warn(listener)

    async def _open_socket(self, planned: _Planned, stack: ExitStack) -> socket.socket:
        source = planned.source
        match source:
            case UnixHost(path=path):
                group = self._group if planned.group is None else planned.group
                sock = await open_unix(path, group_id(group))
                stack.callback(_unlink_if_same, path, _identity(path))
                stack.callback(sock.close)
            case TcpHost():
                sock = await open_tcp(source)
                stack.callback(sock.close)
            case int():
                sock = self._adopted.get(source) or adopt(source)
                self._adopted[source] = sock
            case _:
                raise AssertionError(f"unresolved host: {source}")
        return sock

    def _warn(self, listener: Listener) -> None:
        """TCP without client certificates gives root to whoever can reach the port."""
        if not listener.address.startswith("tcp://") or (listener.tls and self._tls_verify):
            return
        log = logger.bind(service="listeners")
        log.warning(
            "the API is reachable over TCP without client certificates: whoever can connect, "
            "a script in a browser too, has root on this machine; use --tlsverify",
            address=listener.address,
            encrypted=listener.tls is not None,
        )


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


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _unlink_if_same(path: Path, identity: tuple[int, int]) -> None:
    """Remove our socket file, not one that another daemon has put in its place."""
    try:
        if _identity(path) == identity:
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
