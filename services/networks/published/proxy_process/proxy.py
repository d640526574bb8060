"""The ports of the userland proxy and what goes through them, on one loop."""

from __future__ import annotations

import json
import select
import socket
import struct
import time

from services.networks.published.proxy_process.loop import Loop
from services.networks.published.proxy_process.tcp import Connection, TcpPort
from services.networks.published.proxy_process.udp import UdpPort

CONNECT_LIMIT_S = 30.0
SWEEP_S = 1.0

_MESSAGE_BYTES = 4096


class Proxy:
    """Obeys the engine by `control`, and carries until nothing is left."""

    def __init__(self, control: socket.socket, *, most_sockets: int) -> None:
        self._loop = Loop(most_sockets=most_sockets)
        self._control = control
        self._ports: dict[str, list[TcpPort | UdpPort]] = {}
        self._connections: set[Connection] = set()
        self._loop.watch(control, select.EPOLLIN, self._obey)
        self._is_ending = False

    def run(self) -> None:
        """Until nobody commands it any more, and nothing is left to be carried."""
        swept_at = time.monotonic()
        while not self._is_ending or self._connections:
            self._loop.turn(SWEEP_S)
            now = time.monotonic()
            if now - swept_at >= SWEEP_S:
                swept_at = now
                self._sweep(now)

    def _obey(self, _: int) -> None:
        data, ancillary, _, _ = self._control.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(4))
        if not data:
            self._is_ending = True
            self._loop.close(self._control)
            for owner in tuple(self._ports):
                self._close_ports(owner)
            return
        message = json.loads(data)
        owner = message["owner"]
        if "protocol" not in message:
            self._close_ports(owner)
            for connection in tuple(self._connections):
                if connection.port.owner == owner:
                    connection.abort()
        else:
            (number,) = struct.unpack("i", ancillary[0][2][:4])
            bound = socket.socket(fileno=number)
            target = (message["address"], message["port"])
            port = (
                TcpPort(self._loop, bound, owner, target, self._connections)
                if message["protocol"] == "tcp"
                else UdpPort(self._loop, bound, owner, target)
            )
            self._ports.setdefault(owner, []).append(port)
        self._control.send(b"ok")

    def _close_ports(self, owner: str) -> None:
        for port in self._ports.pop(owner, ()):
            port.close()

    def _sweep(self, now: float) -> None:
        for connection in tuple(self._connections):
            if not connection.is_connected and now - connection.began_at > CONNECT_LIMIT_S:
                connection.abort()
        for port in (port for ports in self._ports.values() for port in ports):
            port.sweep(now)
