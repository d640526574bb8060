"""A connection that left HTTP behind: the raw stream that attach and exec speak over.

Source: Engine API, POST /containers/{id}/attach, "Hijacking".
"""

from __future__ import annotations

from typing import Final

import trio

from services.api.http.transport import BULK_READ_BYTES, Transport

RAW_STREAM: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM: Final = "application/vnd.docker.multiplexed-stream"


class HijackedStream(trio.abc.HalfCloseableStream):
    """Both directions of a connection; bytes that came with the request are received first."""

    def __init__(self, transport: Transport, unread: bytes = b"") -> None:
        self._transport = transport
        self._unread = unread
        self._eof_sent = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At most `max_bytes` (256 KB unless told); b"" once the client has ended its direction."""
        limit = max_bytes or BULK_READ_BYTES
        if self._unread:
            await trio.lowlevel.checkpoint()
            data, self._unread = self._unread[:limit], self._unread[limit:]
            return data
        return await self._transport.receive(limit)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, waiting while the client does not read."""
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Block until the client can be written to."""
        stream = self._transport.stream
        assert isinstance(stream, trio.abc.SendStream)
        await stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End our direction; the client's stays open (over TLS: see `TLSTransport.send_eof`)."""
        if not self._eof_sent:
            self._eof_sent = True
            await self._transport.send_eof()

    async def aclose(self) -> None:
        """Close both directions at once."""
        await self._transport.aclose()
