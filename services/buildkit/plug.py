"""A connection that was taken over from the API's server, as a socket that asyncio can have.

Bytes go through a pair of sockets, whose buffers in the kernel are all that is under way: a side
that does not read holds up the other.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

READ_BYTES: Final = 256 * 1024


@asynccontextmanager
async def plugged(stream: trio.abc.HalfCloseableStream) -> AsyncIterator[socket.socket]:
    """The other end of the pair, whose owner closes it; the block is cancelled when a side ends."""
    near, far = socket.socketpair()
    far.setblocking(False)
    ours = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    async with ours, trio.open_nursery() as nursery:
        nursery.start_soon(_carry, stream, ours, nursery.cancel_scope)
        nursery.start_soon(_carry, ours, stream, nursery.cancel_scope)
        try:
            yield far
        finally:
            nursery.cancel_scope.cancel()


async def _carry(
    source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope
) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(READ_BYTES):
            await target.send_all(data)
    # HTTP/2 has no use for a connection with one direction.
    scope.cancel()
