"""A request body as a blocking source for a worker thread, in bounded memory."""

from __future__ import annotations

from typing import Final

import trio

from .ports import Body

_PIECE_BYTES: Final = 1 << 19  # of the body; crossing into the thread costs more than the copy
_PIECES_AHEAD: Final = 4


class Inbox:
    """The thread's end. `read` is for the thread, as long as trio runs it."""

    def __init__(self, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        self._receive = receive
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. Raises trio.Cancelled with whoever awaits the thread.

        As bytes that stand alone.
        """
        if not self._piece:
            self._piece = memoryview(trio.from_thread.run(self._next))
        data = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        return data

    async def _next(self) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return b""


def open_inbox() -> tuple[trio.MemorySendChannel[bytes], Inbox]:
    """What `take_body` fills and the thread reads."""
    send, receive = trio.open_memory_channel[bytes](_PIECES_AHEAD)
    return send, Inbox(receive)


async def take_body(body: Body, send: trio.MemorySendChannel[bytes]) -> None:
    """Hand the body on in pieces worth handing on, to its end."""
    async with send:
        gathered = bytearray()
        async for data in body:
            gathered += data
            if len(gathered) >= _PIECE_BYTES:
                await send.send(bytes(gathered))
                gathered.clear()
        if gathered:
            await send.send(bytes(gathered))
