"""The bytes under one HTTP connection: a plain or a TLS socket behind the calls the server makes.

A plain socket is read and written through its descriptor: one epoll wait and one system call for a
request, where trio's streams make two checkpoints and take two locks. Errors come out as trio's
streams raise them: BrokenResourceError (the peer's doing) and ClosedResourceError (ours).
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio

READ_BYTES: Final = 64 * 1024
BULK_READ_BYTES: Final = 256 * 1024
LINGER_S: Final = 2.0
"""How long a peer may take to read what we sent last and to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCredentials:
    """Who connected to a unix socket, as the kernel recorded it at connect()."""

    pid: int
    uid: int
    gid: int


class ClientGone(trio.BrokenResourceError):
    """The peer of an API connection went away: nobody is left to be told anything."""


class Transport(Protocol):
    """What a connection needs of its socket."""

    @property
    def stream(self) -> trio.abc.Stream:
        """The stream beneath, for those who take the connection over."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket beneath."""

    def peer_certificate(self) -> dict[str, Any] | None:
        """The peer's verified certificate as ssl.SSLSocket.getpeercert has it; None without one."""

    def peer_certificate_der(self) -> bytes | None:
        """The same, as it was sent."""

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        """What has come, at most `max_bytes`; b"" at the peer's end of stream."""

    def send_now(self, data: bytes) -> int:
        """Write what can be written without waiting; how many bytes that was."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, waiting as the peer reads. Always a checkpoint."""

    async def send_eof(self) -> None:
        """Tell the peer that no more will come, where the transport can say so."""

    def has_input(self) -> bool:
        """Whether unread bytes (or the end of the stream) wait in the socket."""

    async def aclose(self) -> None:
        """Close at once. Never raises and never waits for the peer."""


class PlainTransport:
    """A unix or TCP socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket

    @property
    def stream(self) -> trio.abc.Stream:
        """See `Transport`."""
        return self._stream

    @property
    def socket(self) -> trio.socket.SocketType:
        """See `Transport`."""
        return self._socket

    def peer_certificate(self) -> dict[str, Any] | None:
        """See `Transport`."""
        return None

    def peer_certificate_der(self) -> bytes | None:
        """See `Transport`."""
        return None

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        """See `Transport`."""
        while True:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError("this connection is closed")
            # Waiting first, also when bytes are there: a busy client must not starve the others.
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise ClientGone(f"reading: {error}") from error

    def send_now(self, data: bytes) -> int:
        """See `Transport`."""
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone(f"writing: {error}") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Transport`."""
        with _gone():
            await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """See `Transport`."""
        with _gone():
            await self._stream.send_eof()

    def has_input(self) -> bool:
        """See `Transport`."""
        return has_input(self._socket)

    async def aclose(self) -> None:
        """See `Transport`."""
        self._socket.close()


class TLSTransport:
    """A TLS session that has been shaken hands on."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._socket = stream.transport_stream.socket

    @property
    def stream(self) -> trio.abc.Stream:
        """See `Transport`."""
        return self._stream

    @property
    def socket(self) -> trio.socket.SocketType:
        """See `Transport`."""
        return self._socket

    def peer_certificate(self) -> dict[str, Any] | None:
        """See `Transport`."""
        certificate: dict[str, Any] | None = self._stream.getpeercert()
        return certificate or None

    def peer_certificate_der(self) -> bytes | None:
        """See `Transport`."""
        certificate: bytes | None = self._stream.getpeercert(binary_form=True)
        return certificate if self.peer_certificate() is not None else None

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        """See `Transport`."""
        with _gone():
            return bytes(await self._stream.receive_some(max_bytes))

    def send_now(self, data: bytes) -> int:
        """See `Transport`. A TLS record is all or nothing, so nothing is ever written at once."""
        del data
        return 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Transport`."""
        with _gone():
            await self._stream.send_all(bytes(data))

    async def send_eof(self) -> None:
        """Send close_notify, which may end both directions: for when all has been read."""
        with _gone(), trio.move_on_after(LINGER_S):
            await self._stream.unwrap()

    def has_input(self) -> bool:
        """See `Transport`. Decrypted bytes that trio holds back are not seen."""
        return has_input(self._socket)

    async def aclose(self) -> None:
        """See `Transport`."""
        await trio.aclose_forcefully(self._stream)


@contextmanager
def _gone() -> Iterator[None]:
    """Say whose connection broke: a handler has other streams that can."""
    try:
        yield
    except trio.BrokenResourceError as error:
        raise ClientGone(str(error)) from error


def has_input(sock: trio.socket.SocketType) -> bool:
    """Whether a read would return at once."""
    poller = select.poll()  # not select(): descriptors above 1023 are ordinary here
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def peer_credentials(sock: trio.socket.SocketType) -> PeerCredentials | None:
    """Pid, uid and gid at the other end of a unix socket; None for other families."""
    if sock.family != socket.AF_UNIX:
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return PeerCredentials(pid=pid, uid=uid, gid=gid)


async def linger(transport: Transport) -> None:
    """End our side, read until the peer ends its own, at most `LINGER_S`.

    Closing a socket with unread input resets it, and a reset takes from the peer what it has not
    read yet.
    """
    with trio.move_on_after(LINGER_S):
        try:
            await transport.send_eof()
            while await transport.receive(BULK_READ_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass
