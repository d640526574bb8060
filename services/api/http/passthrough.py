"""What hypercorn serves itself, HTTP/2 and websockets, on a stream that we began to read."""

from __future__ import annotations

import trio

from services.api.http.transport import Transport


class ReplayedStream(trio.abc.Stream):
    """A plain stream as hypercorn's TCPServer uses it; what was read before comes first."""

    def __init__(self, transport: Transport, data: bytes) -> None:
        self._transport = transport
        self._data = data

    @property
    def socket(self) -> trio.socket.SocketType:
        """By which hypercorn learns both addresses."""
        return self._transport.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The replay, then the socket."""
        if self._data:
            await trio.lowlevel.checkpoint()
            size = max_bytes or len(self._data)
            data, self._data = self._data[:size], self._data[size:]
            return data
        return await self._transport.receive(max_bytes or 65536)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Straight to the socket."""
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Block until the peer can be written to."""
        stream = self._transport.stream
        assert isinstance(stream, trio.abc.SendStream)
        await stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End our direction."""
        await self._transport.send_eof()

    async def aclose(self) -> None:
        """Close at once."""
        await self._transport.aclose()


class ReplayedTLSStream(ReplayedStream):
    """The same over TLS: hypercorn knows TLS by these three names."""

    def __init__(self, transport: Transport, data: bytes, alpn: str | None) -> None:
        super().__init__(transport, data)
        self._alpn = alpn

    @property
    def transport_stream(self) -> ReplayedTLSStream:
        """hypercorn asks it for the socket only."""
        return self

    async def do_handshake(self) -> None:
        """Done long ago."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str | None:
        """What the handshake agreed on."""
        return self._alpn
