"""Connections to log servers: packets one by one, and streams that know what has arrived.

A stream's data counts as delivered when the peer's kernel has acknowledged it (TCP), or its
process has read it (unix): the send queue is empty then. Without that, what lies in our own kernel
when a connection breaks would be lost without a word.
"""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from services.containers.logs.remote.driver import DeliveryFailed, Progress
from services.containers.logs.remote.endpoints import Endpoint

CONNECT_BUDGET_S: Final = 10.0
SEND_BUDGET_S: Final = 10.0
"""For one batch; a server that takes longer counts as away, so that nobody waits for it."""

WINDOW_BYTES: Final = 512 * 1024
"""What may be under way without having arrived: a kernel may wait 40 ms with saying that it has."""

_OUTQ: Final = struct.Struct("i")
_FIRST_LOOK_S: Final = 0.0005
_LAST_LOOK_S: Final = 0.05


@contextmanager
def delivery(what: str, budget_s: float) -> Iterator[None]:
    """Turn what can go wrong on a socket into DeliveryFailed, and bound the time."""
    try:
        with trio.fail_after(budget_s):
            yield
    except trio.TooSlowError as error:
        raise DeliveryFailed(f"{what}: no answer within {budget_s:g} s") from error
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise DeliveryFailed(f"{what}: {_words(error)}") from error


def _words(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else None
    shown = cause or error
    return getattr(shown, "strerror", None) or str(shown) or type(shown).__name__


class PacketLink:
    """Packets over UDP or a unix socket. A refusal (ICMP, a socket that is gone) is an error."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._socket = sock

    @classmethod
    async def open(cls, endpoint: Endpoint) -> PacketLink:
        """Raises DeliveryFailed: the name does not resolve, or nobody is at the socket file."""
        with delivery(f"connecting to {endpoint}", CONNECT_BUDGET_S):
            if endpoint.path:
                sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                address: object = endpoint.path
            else:
                found = await trio.socket.getaddrinfo(
                    endpoint.host, endpoint.port, type=socket.SOCK_DGRAM
                )
                family, kind, protocol, _, address = found[0]
                sock = trio.socket.socket(family, kind, protocol)
            try:
                await sock.connect(address)
            except BaseException:
                sock.close()
                raise
            return cls(sock)

    async def send(self, packet: bytes) -> None:
        """One packet; waits where the receiver's queue is full, which only unix sockets tell.

        Raises:
            OSError: EMSGSIZE: it is too long for a packet. Others: nobody is there.
        """
        await self._socket.send(packet)

    async def send_descriptor(self, fd: int) -> None:
        """An empty packet that carries a descriptor."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        await self._socket.sendmsg([], rights)

    async def aclose(self) -> None:
        """Close."""
        self._socket.close()


class StreamLink:
    """A stream over TCP, TLS or a unix socket."""

    def __init__(self, stream: trio.abc.Stream, below: trio.SocketStream) -> None:
        self._stream = stream
        self._below = below
        self._sent_bytes = 0
        self._under_way: deque[tuple[int, int]] = deque()  # where lines end, and how many

    @classmethod
    async def open(cls, endpoint: Endpoint, tls: ssl.SSLContext | None = None) -> StreamLink:
        """With `tls` the server must show a certificate that it takes.

        Raises:
            DeliveryFailed: nobody is there, or it is not whom we want.
        """
        with delivery(f"connecting to {endpoint}", CONNECT_BUDGET_S):
            if endpoint.path:
                plain = await trio.open_unix_socket(endpoint.path)
            else:
                plain = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            if tls is None:
                return cls(plain, plain)
            secured = trio.SSLStream(plain, tls, server_hostname=endpoint.host)
            try:
                await secured.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(plain)
                raise
            return cls(secured, plain)

    async def send(self, data: bytes, count: int, progress: Progress) -> None:
        """Send `data`, which stands for `count` lines; WINDOW_BYTES may be under way after it.

        Raises:
            BrokenResourceError: the peer has gone; nobody knows how much of it arrived.
        """
        self._require_open()
        await self._stream.send_all(data)
        self._sent_bytes += len(data)
        self._under_way.append((self._sent_bytes, count))
        await self._wait_below(WINDOW_BYTES, progress)

    async def flush(self, progress: Progress) -> None:
        """Wait until all has arrived. Raises as `send`."""
        await self._wait_below(0, progress)

    async def _wait_below(self, limit_bytes: int, progress: Progress) -> None:
        look_s = _FIRST_LOOK_S
        # There is nothing to wait on: the kernel tells of room in the queue, not of its end.
        while True:
            waiting = self._unacknowledged()
            self._require_open()
            # With TLS the queue's bytes are more than those that they stand for.
            while self._under_way and self._under_way[0][0] <= self._sent_bytes - waiting:
                progress(self._under_way.popleft()[1])
            if waiting <= limit_bytes:
                return
            await trio.sleep(look_s)
            look_s = min(2 * look_s, _LAST_LOOK_S)

    def _require_open(self) -> None:
        if self._is_ended():
            raise trio.BrokenResourceError("the server has closed the connection")

    async def receive(self, max_bytes: int) -> bytes:
        """What the server says."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close at once, without a farewell that a dead peer would let us wait for."""
        await trio.aclose_forcefully(self._below)

    def _unacknowledged(self) -> int:
        waiting: tuple[int] = _OUTQ.unpack(
            fcntl.ioctl(self._below.socket.fileno(), termios.TIOCOUTQ, bytes(_OUTQ.size))
        )
        return waiting[0]

    def _is_ended(self) -> bool:
        """Whether the peer has closed: log servers do so before they end, and say nothing else."""
        poller = select.poll()
        poller.register(self._below.socket.fileno(), select.POLLRDHUP)
        return bool(poller.poll(0))


def is_too_long(error: BaseException) -> bool:
    """Whether a packet was refused for its length."""
    return isinstance(error, OSError) and error.errno == errno.EMSGSIZE
