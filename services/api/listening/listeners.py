"""The listening sockets: opened once, kept while everything that serves on them restarts.

A restarting server takes a new dup() of a socket that never closed, so clients wait in its backlog
for a moment where they would otherwise be refused.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import trio
from loguru import logger

from services.api.listening.hosts import FdHost, Host, TcpHost, UnixHost
from services.api.listening.listener import Listener
from services.api.listening.sockets import (
    DEFAULT_GROUP,
    ListenError,
    group_id,
    identity_of,
    open_tcp,
    open_unix,
    unlink_if_same,
)
from services.api.listening.systemd import ActivatedSockets, adopt
from services.errors import Unavailable


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
                stack.callback(unlink_if_same, path, identity_of(path))
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
