"""Asks DNS servers from within network namespaces."""

from __future__ import annotations

import socket
from pathlib import Path

import trio
from dnslib import DNSRecord

from services.networks.kernel.netns import in_namespace

LIMIT_S = 40.0


class Client:
    """Asks from within a namespace."""

    def __init__(self, namespace: Path, server: tuple[str, int] = ("127.0.0.11", 53)) -> None:
        self._namespace = namespace
        self._server = server

    def socket(self, kind: int = socket.SOCK_DGRAM) -> trio.socket.SocketType:
        """One of the namespace, not connected yet."""

        def made() -> socket.socket:
            return socket.socket(socket.AF_INET, kind)

        return trio.socket.from_stdlib_socket(in_namespace(self._namespace, made))

    async def send(self, query: DNSRecord) -> trio.socket.SocketType:
        """Ask; the socket is where the answer comes."""
        opened = self.socket()
        await opened.connect(self._server)
        await opened.send(query.pack())
        return opened

    async def ask(self, name: str, kind: str = "A") -> DNSRecord:
        """The answer by UDP."""
        return await self.exchange(DNSRecord.question(name, kind))

    async def exchange(self, query: DNSRecord) -> DNSRecord:
        """The answer by UDP; fails without one."""
        with trio.fail_after(LIMIT_S), await self.send(query) as opened:
            reply = DNSRecord.parse(await opened.recv(65535))
        assert reply.header.id == query.header.id
        return reply

    async def connect(self) -> trio.SocketStream:
        """A TCP connection."""
        opened = self.socket(socket.SOCK_STREAM)
        await opened.connect(self._server)
        return trio.SocketStream(opened)

    async def exchange_by_tcp(self, stream: trio.SocketStream, query: DNSRecord) -> DNSRecord:
        """The answer over a connection."""
        packed = query.pack()
        with trio.fail_after(LIMIT_S):
            await stream.send_all(len(packed).to_bytes(2, "big") + packed)
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                part = await stream.receive_some(65535)
                assert part, "the server hung up"
                data += part
        return DNSRecord.parse(data[2:])
