"""Ports whose connections are carried to containers, chunk by chunk."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from services.networks.published.proxy_process.bounds import AT_ONCE, MOST_OF_ONE
from services.networks.published.proxy_process.loop import Loop

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6))
_RESET = struct.pack("ii", 1, 0)  # linger: closing resets


class TcpPort:
    """A socket that listens, and where its connections lead."""

    def __init__(
        self,
        loop: Loop,
        bound: socket.socket,
        owner: str,
        target: tuple[str, int],
        connections: set[Connection],
    ) -> None:
        """`connections` are those of all ports; they outlive the port."""
        self.connections = connections
        self.loop, self.owner, self.target = loop, owner, target
        self.count = 0
        self._bound = bound
        bound.setblocking(False)
        loop.watch(bound, select.EPOLLIN, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self.loop.close(self._bound)

    def sweep(self, _: float) -> None:
        """Accept again, if it was too much before."""
        self.loop.watch(self._bound, select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        for _ in range(AT_ONCE):
            if self.count >= MOST_OF_ONE or not self.loop.take_sockets(2):
                self.loop.watch(self._bound, 0, self._accept)  # clients wait; see `sweep`
                return
            try:
                client, _ = self._bound.accept()
            except OSError as error:
                self.loop.give_back_sockets(2)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self.loop.watch(self._bound, 0, self._accept)
                return  # nobody is left, or who was there has gone
            Connection(self, client)


class Connection:
    """A client's connection and ours to the container. One chunk each way is held, at most.

    An end of one direction is passed on, and the other direction goes on; so is a reset, of both.
    """

    def __init__(self, port: TcpPort, client: socket.socket) -> None:
        self.port = port
        self.began_at = time.monotonic()
        self.is_connected = False
        self._loop = port.loop
        family = socket.AF_INET6 if ":" in port.target[0] else socket.AF_INET
        backend = socket.socket(family, socket.SOCK_STREAM)
        self._client, self._backend = client, backend
        self._held: dict[socket.socket, memoryview | bytes] = {client: b"", backend: b""}
        self._has_ended = {client: False, backend: False}
        for end in (client, backend):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                end.setsockopt(socket.IPPROTO_TCP, option, value)
        port.count += 1
        port.connections.add(self)
        if backend.connect_ex(port.target) in (0, errno.EINPROGRESS):
            self._loop.watch(backend, select.EPOLLOUT, self._connected)
        else:
            self.abort()

    def abort(self) -> None:
        """Reset both."""
        for end in (self._client, self._backend):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        if self in self.port.connections:
            self.port.connections.discard(self)
            self.port.count -= 1
            self._loop.give_back_sockets(2)
            for end in (self._client, self._backend):
                self._loop.close(end)

    def _connected(self, _: int) -> None:
        if self._backend.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        self.is_connected = True
        self._loop.watch(self._backend, 0, self._connected)
        self._watch()

    def _watch(self) -> None:
        """Read from where there is room for it, write where something is held."""
        client, backend = self._client, self._backend
        for end, other, call in (
            (client, backend, self._on_client),
            (backend, client, self._on_backend),
        ):
            reads = not self._has_ended[end] and not self._held[other]
            events = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if self._held[end] else 0)
            self._loop.watch(end, events, call)

    def _on_client(self, events: int) -> None:
        self._carry(self._client, self._backend, events)

    def _on_backend(self, events: int) -> None:
        self._carry(self._backend, self._client, events)

    def _carry(self, end: socket.socket, other: socket.socket, events: int) -> None:
        try:
            if self._held[end] and events & ~select.EPOLLIN:
                self._send(end, self._held[end])
                if not self._held[end] and self._has_ended[other]:
                    end.shutdown(socket.SHUT_WR)
            if not self._has_ended[end] and not self._held[other] and events & ~select.EPOLLOUT:
                size = end.recv_into(self._loop.buffer)
                self._has_ended[end] = size == 0
                if size:
                    self._send(other, self._loop.buffer[:size])
                else:
                    other.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.abort()
            return
        if all(self._has_ended.values()) and not any(self._held.values()):
            self._close()
        else:
            self._watch()

    def _send(self, end: socket.socket, data: memoryview | bytes) -> None:
        try:
            sent = end.send(data)
        except BlockingIOError:
            sent = 0
        self._held[end] = bytes(data[sent:])
