"""A DNS server for tests, on a port of its own: answers from a table, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dnslib import QTYPE, RCODE, RR, SOA, A, DNSRecord

Answerer = Callable[[DNSRecord, bool], DNSRecord | bytes | None]
"""What is answered to a query; the second is whether it came by TCP. None is silence."""


def found(query: DNSRecord, *addresses: str, ttl: int = 60) -> DNSRecord:
    """These addresses."""
    reply = query.reply(ra=1, aa=0)
    for address in addresses:
        reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=ttl, rdata=A(address)))
    return reply


def absent(query: DNSRecord, *, minimum: int = 60) -> DNSRecord:
    """There is no such name."""
    reply = query.reply(ra=1, aa=0)
    reply.header.rcode = RCODE.NXDOMAIN
    zone = SOA("ns.test", "root.test", (1, 2, 3, 4, minimum))
    reply.add_auth(RR("test", QTYPE.SOA, ttl=3600, rdata=zone))
    return reply


def failed(query: DNSRecord, code: int = RCODE.SERVFAIL) -> DNSRecord:
    """The server cannot say."""
    reply = query.reply(ra=1, aa=0)
    reply.header.rcode = code
    return reply


@dataclass(slots=True)
class TestResolver:
    """What it was asked, in order: name, type, whether by TCP."""

    __test__ = False

    address: str
    port: int
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    queries: list[bytes] = field(default_factory=list)
    sources: list[tuple[str, int]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names that it was asked for."""
        return [name for name, _, _ in self.asked]


@contextmanager
def running_resolver(
    answerer: Answerer, *, address: str = "127.0.0.1", port: int = 0
) -> Iterator[TestResolver]:
    """Serve by UDP and TCP on one port, in the network namespace of the calling thread."""
    udp, tcp = _pair(address, port)
    with udp, tcp:
        resolver = TestResolver(address, udp.getsockname()[1])
        threads = []
        for target, opened in ((_serve_udp, udp), (_serve_tcp, tcp)):
            opened.settimeout(0.02)
            thread = threading.Thread(target=target, args=(opened, answerer, resolver), daemon=True)
            thread.start()
            threads.append(thread)
        yield resolver
        udp.close()
        tcp.close()
        for thread in threads:  # the kernel keeps a socket in which somebody waits
            thread.join(5)


def _pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Two sockets on one port; with 0 on one that is free for both."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            udp.bind((address, port))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((address, udp.getsockname()[1]))
            tcp.listen(50)
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
        else:
            return udp, tcp


def _serve_udp(udp: socket.socket, answerer: Answerer, resolver: TestResolver) -> None:
    while udp.fileno() >= 0:
        try:
            data, client = udp.recvfrom(65535)
            resolver.sources.append(client)
            reply = _reply(data, answerer, resolver, is_tcp=False)
            if reply is not None:
                udp.sendto(reply, client)
        except OSError:
            continue


def _serve_tcp(tcp: socket.socket, answerer: Answerer, resolver: TestResolver) -> None:
    while tcp.fileno() >= 0:
        try:
            connection, _ = tcp.accept()
        except OSError:
            continue
        # A client that is silent or gone costs its connection, not the server.
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.settimeout(2)
            while head := stream.read(2):
                data = stream.read(int.from_bytes(head, "big"))
                reply = _reply(data, answerer, resolver, is_tcp=True)
                if reply is None:
                    time.sleep(0.1)
                    break
                connection.sendall(len(reply).to_bytes(2, "big") + reply)


def _reply(
    data: bytes, answerer: Answerer, resolver: TestResolver, *, is_tcp: bool
) -> bytes | None:
    query = DNSRecord.parse(data)
    name = str(query.q.qname).rstrip(".")
    resolver.asked.append((name, QTYPE.get(query.q.qtype), is_tcp))
    resolver.queries.append(data)
    reply = answerer(query, is_tcp)
    if isinstance(reply, DNSRecord):
        packed: bytes = reply.pack()
        return packed
    return reply
