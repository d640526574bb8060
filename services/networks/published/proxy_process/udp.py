"""Ports whose datagrams are carried to containers, and the answers back."""

from __future__ import annotations

import select
import socket
import time
from collections import OrderedDict
from typing import Any

from services.networks.published.proxy_process.bounds import AT_ONCE, MOST_OF_ONE
from services.networks.published.proxy_process.loop import Loop

SESSION_IDLE_S = 90.0  # dockerd's proxy has the same

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


class UdpPort:
    """A socket that clients send to, and for each of them one of ours to the container."""

    def __init__(
        self, loop: Loop, bound: socket.socket, owner: str, target: tuple[str, int]
    ) -> None:
        self.loop, self.owner, self.target = loop, owner, target
        self._bound = bound
        self._sessions: OrderedDict[tuple[Address, bytes], tuple[socket.socket, float]] = (
            OrderedDict()
        )
        bound.setblocking(False)
        bound.setsockopt(*_ASK_PACKET_INFO[bound.family], 1)
        loop.watch(bound, select.EPOLLIN, self._receive)

    def close(self) -> None:
        """With all sessions."""
        while self._sessions:
            self._end_oldest()
        self.loop.close(self._bound)

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
            if len(self._sessions) >= MOST_OF_ONE or not self.loop.take_sockets(1):
                if not self._sessions:
                    return None
                self._end_oldest()
                if not self.loop.take_sockets(1):
                    return None
            family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
            try:
                found = socket.socket(family, socket.SOCK_DGRAM)
                found.setblocking(False)
                found.connect(self.target)
            except OSError:
                self.loop.give_back_sockets(1)
                if found is not None:
                    found.close()
                return None
            session = found
            self.loop.watch(found, select.EPOLLIN, lambda _: self._answer(session, client, local))
        self._sessions[key] = (found, time.monotonic())
        return found

    def _answer(self, session: socket.socket, client: Address, local: bytes) -> None:
        """Back to the client, from the address that it has sent to."""
        self._sessions[client, local] = (session, time.monotonic())
        self._sessions.move_to_end((client, local))
        ancillary = [(*_PACKET_INFO[self._bound.family], local)] if local else []
        for _ in range(AT_ONCE):
            try:
                size = session.recv_into(self.loop.buffer)
                self._bound.sendmsg([self.loop.buffer[:size]], ancillary, 0, client)
            except BlockingIOError:
                return
            except OSError:  # nobody listens in there, or the client has gone
                continue

    def _end_oldest(self) -> None:
        _, (session, _) = self._sessions.popitem(last=False)
        self.loop.close(session)
        self.loop.give_back_sockets(1)


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
