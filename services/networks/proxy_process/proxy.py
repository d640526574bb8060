"""The ports of the userland proxy and what goes through them, on one loop."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable

from services.networks.proxy_process.tcp import Connection, TcpPort
from services.networks.proxy_process.udp import UdpPort

CHUNK_BYTES = 1 << 18
CONNECT_LIMIT_S = 30.0
SWEEP_S = 1.0

_MESSAGE_BYTES = 4096


class Proxy:
    """Obeys the engine by `control`, and carries until nothing is left."""

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
