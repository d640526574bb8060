"""The userland proxy: carries what the kernel cannot lead to containers. See `proxy`.

    python -I -S proxy_process.py <socket's descriptor>

A program of its own, so that clients' traffic is no work of the engine. Each message is a packet on
a SEQPACKET socket and is answered by `ok`: a JSON object, and with a new port its bound socket.
When the engine lets go of the other end, or dies, the ports are closed at once; connections are
carried on to their end, and with the last one it ends. It imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import errno
import json
import resource
import select
import socket
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

NAME = b"wf-proxy"
CHUNK_BYTES = 1 << 18
MOST_OF_ONE = 4096  # connections or sessions of one port: none can use up what all have
MOST_SOCKETS = 60000
SPARE_DESCRIPTORS = 64
CONNECT_LIMIT_S = 30.0
SESSION_IDLE_S = 90.0  # dockerd's proxy has the same
SWEEP_S = 1.0
AT_ONCE = 32  # connections or datagrams of one port before it is the others' turn

_PR_SET_NAME = 15
_MESSAGE_BYTES = 4096
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6))
_RESET = struct.pack("ii", 1, 0)  # linger: closing resets
_IP_PKTINFO = 8
_PACKET_INFO: dict[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
}
_ASK_PACKET_INFO: dict[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
}
_INTERFACE_AT: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 16}  # its number, in there
Address = tuple[Any, ...]
_LINK_LOCAL = b"\xfe\x80"


class Proxy:
    """The ports and what goes through them, on one loop."""

    def __init__(self, control: socket.socket, *, most_sockets: int) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._control = control
        self._left = most_sockets
        self._ports: dict[str, list[TcpPort | UdpPort]] = {}
        self.connections: set[Connection] = set()
        self.buffer = memoryview(bytearray(CHUNK_BYTES))
        self.watch(control, select.EPOLLIN, self._obey)
        self._is_ending = False

    def run(self) -> None:
        """Until nobody commands it any more, and nothing is left to be carried."""
        swept_at = time.monotonic()
        while not self._is_ending or self.connections:
            for descriptor, events in self._epoll.poll(SWEEP_S):
                call = self._calls.get(descriptor)
                if call is not None:  # another's call may have closed it
                    call(events)
            now = time.monotonic()
            if now - swept_at >= SWEEP_S:
                swept_at = now
                self._sweep(now)

    def watch(self, end: socket.socket, events: int, call: Callable[[int], None]) -> None:
        """Call for these events from now on; for none at all without any."""
        number = end.fileno()
        if number not in self._calls:
            if events:
                self._epoll.register(number, events)
                self._calls[number] = call
        elif events:
            self._epoll.modify(number, events)
        else:
            self._epoll.unregister(number)  # or it would go on telling of a hang-up
            del self._calls[number]

    def close(self, end: socket.socket) -> None:
        """Close a socket, whether it is watched or not."""
        if end.fileno() in self._calls:
            self._epoll.unregister(end.fileno())
            del self._calls[end.fileno()]
        end.close()

    def take_sockets(self, count: int) -> bool:
        """Whether there may be so many more."""
        is_there = self._left >= count
        self._left -= count if is_there else 0
        return is_there

    def give_back_sockets(self, count: int) -> None:
        """So many are closed."""
        self._left += count

    def _obey(self, _: int) -> None:
        data, ancillary, _, _ = self._control.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(4))
        if not data:
            self._is_ending = True
            self.close(self._control)
            for owner in tuple(self._ports):
                self._close_ports(owner)
            return
        message = json.loads(data)
        owner = message["owner"]
        if "protocol" not in message:
            self._close_ports(owner)
            for connection in tuple(self.connections):
                if connection.port.owner == owner:
                    connection.abort()
        else:
            (number,) = struct.unpack("i", ancillary[0][2][:4])
            kind = TcpPort if message["protocol"] == "tcp" else UdpPort
            bound = socket.socket(fileno=number)
            port = kind(self, bound, owner, (message["address"], message["port"]))
            self._ports.setdefault(owner, []).append(port)
        self._control.send(b"ok")

    def _close_ports(self, owner: str) -> None:
        for port in self._ports.pop(owner, ()):
            port.close()

    def _sweep(self, now: float) -> None:
        for connection in tuple(self.connections):
            if not connection.is_connected and now - connection.began_at > CONNECT_LIMIT_S:
                connection.abort()
        for port in (port for ports in self._ports.values() for port in ports):
            port.sweep(now)


class TcpPort:
    """A socket that listens, and where its connections lead."""

    def __init__(
        self, proxy: Proxy, bound: socket.socket, owner: str, target: tuple[str, int]
    ) -> None:
        self.proxy, self.owner, self.target = proxy, owner, target
        self.count = 0
        self._bound = bound
        bound.setblocking(False)
        proxy.watch(bound, select.EPOLLIN, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self.proxy.close(self._bound)

    def sweep(self, _: float) -> None:
        """Accept again, if it was too much before."""
        self.proxy.watch(self._bound, select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        for _ in range(AT_ONCE):
            if self.count >= MOST_OF_ONE or not self.proxy.take_sockets(2):
                self.proxy.watch(self._bound, 0, self._accept)  # clients wait; see `sweep`
                return
            try:
                client, _ = self._bound.accept()
            except OSError as error:
                self.proxy.give_back_sockets(2)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self.proxy.watch(self._bound, 0, self._accept)
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
        self._proxy = port.proxy
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
        self._proxy.connections.add(self)
        if backend.connect_ex(port.target) in (0, errno.EINPROGRESS):
            self._proxy.watch(backend, select.EPOLLOUT, self._connected)
        else:
            self.abort()

    def abort(self) -> None:
        """Reset both."""
        for end in (self._client, self._backend):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        if self in self._proxy.connections:
            self._proxy.connections.discard(self)
            self.port.count -= 1
            self._proxy.give_back_sockets(2)
            for end in (self._client, self._backend):
                self._proxy.close(end)

    def _connected(self, _: int) -> None:
        if self._backend.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        self.is_connected = True
        self._proxy.watch(self._backend, 0, self._connected)
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
            self._proxy.watch(end, events, call)

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
                size = end.recv_into(self._proxy.buffer)
                self._has_ended[end] = size == 0
                if size:
                    self._send(other, self._proxy.buffer[:size])
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


class UdpPort:
    """A socket that clients send to, and for each of them one of ours to the container."""

    def __init__(
        self, proxy: Proxy, bound: socket.socket, owner: str, target: tuple[str, int]
    ) -> None:
        self.proxy, self.owner, self.target = proxy, owner, target
        self._bound = bound
        self._sessions: OrderedDict[tuple[Address, bytes], tuple[socket.socket, float]] = (
            OrderedDict()
        )
        bound.setblocking(False)
        bound.setsockopt(*_ASK_PACKET_INFO[bound.family], 1)
        proxy.watch(bound, select.EPOLLIN, self._receive)

    def close(self) -> None:
        """With all sessions."""
        while self._sessions:
            self._end_oldest()
        self.proxy.close(self._bound)

    def sweep(self, now: float) -> None:
        """End the sessions that nobody uses any more."""
        while self._sessions:
            _, used_at = next(iter(self._sessions.values()))
            if now - used_at < SESSION_IDLE_S:
                return
            self._end_oldest()

    def _receive(self, _: int) -> None:
        for _ in range(AT_ONCE):
            try:
                data, ancillary, _, client = self._bound.recvmsg(65536, 256)
            except OSError:  # nothing more; or what an earlier answer of ours met with
                return
            session = self._session(client, _local_address(self._bound.family, ancillary))
            if session is not None:
                try:
                    session.send(data)
                except OSError:  # a datagram may be lost
                    continue

    def _session(self, client: Address, local: bytes) -> socket.socket | None:
        """The socket of this client to the container; None if there cannot be one."""
        key = (client, local)
        found, _ = self._sessions.pop(key, (None, 0.0))
        if found is None:
            if len(self._sessions) >= MOST_OF_ONE or not self.proxy.take_sockets(1):
                if not self._sessions:
                    return None
                self._end_oldest()
                if not self.proxy.take_sockets(1):
                    return None
            family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
            try:
                found = socket.socket(family, socket.SOCK_DGRAM)
                found.setblocking(False)
                found.connect(self.target)
            except OSError:
                self.proxy.give_back_sockets(1)
                if found is not None:
                    found.close()
                return None
            session = found
            self.proxy.watch(found, select.EPOLLIN, lambda _: self._answer(session, client, local))
        self._sessions[key] = (found, time.monotonic())
        return found

    def _answer(self, session: socket.socket, client: Address, local: bytes) -> None:
        """Back to the client, from the address that it has sent to."""
        self._sessions[client, local] = (session, time.monotonic())
        self._sessions.move_to_end((client, local))
        ancillary = [(*_PACKET_INFO[self._bound.family], local)] if local else []
        for _ in range(AT_ONCE):
            try:
                size = session.recv_into(self.proxy.buffer)
                self._bound.sendmsg([self.proxy.buffer[:size]], ancillary, 0, client)
            except BlockingIOError:
                return
            except OSError:  # nobody listens in there, or the client has gone
                continue

    def _end_oldest(self) -> None:
        _, (session, _) = self._sessions.popitem(last=False)
        self.proxy.close(session)
        self.proxy.give_back_sockets(1)


def _local_address(family: int, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """Which of the host's addresses a datagram was sent to, for the answer; b"" if not told.

    The way back is looked up anew, but for addresses that mean nothing without their link.
    """
    for level, kind, info in ancillary:
        if (level, kind) == _PACKET_INFO[family]:
            if family == socket.AF_INET6 and info.startswith(_LINK_LOCAL):
                return info
            at = _INTERFACE_AT[family]
            return info[:at] + bytes(4) + info[at + 4 :]
    return b""


def main(descriptor: int) -> None:
    """Serve one engine, and what is left after it."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_SOCKETS if hard == resource.RLIM_INFINITY else min(hard, MOST_SOCKETS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    control = socket.socket(fileno=descriptor)
    Proxy(control, most_sockets=most - SPARE_DESCRIPTORS).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
