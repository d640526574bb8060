"""The answer of a pull or a push: lines of JSON that clients draw as bars.

Source: docker, pkg/streamformatter and pkg/jsonmessage.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.api.ports import Transfer
from services.api.streams.message_lines import error_to_wire, message_line
from services.api.types.registry import line_to_wire


class TransferAnswer:
    """One client's view of a transfer. What fails before its first line is an ordinary error."""

    def __init__(self, transfer: AbstractAsyncContextManager[Transfer]) -> None:
        self._transfer = transfer

    @asynccontextmanager
    async def lines(self) -> AsyncIterator[AsyncIterable[bytes]]:
        """Wait for the transfer while the block lasts; the lines end with it."""
        async with self._transfer as transfer:
            await transfer.board.wait_first()
            if transfer.board.is_empty and transfer.error is not None:
                raise transfer.error
            yield _encoded(transfer)


async def _encoded(transfer: Transfer) -> AsyncIterator[bytes]:
    async for lines in transfer.board.watch():
        yield b"".join(message_line(line_to_wire(line)) for line in lines)
    if transfer.error is not None:
        yield message_line(error_to_wire(str(transfer.error)))
