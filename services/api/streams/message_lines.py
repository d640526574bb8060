"""Answers of JSON messages, one a line: what is told while something is done.

Source: docker, pkg/streamformatter and pkg/jsonmessage.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from loguru import logger

from services.api.http.head import ProtocolError
from services.api.wire.errors import INTERNAL_ERROR
from services.api.wire.gojson import encoded
from services.errors import EngineError, single_error

LINES_AHEAD: Final = 16
"""What is done waits when its client is this many lines behind."""

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Sends the client a message; waits while the client is behind."""


def message_line(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire."""
    return encoded(message) + b"\r\n"


def error_to_wire(message: str) -> dict[str, Any]:
    """The last line of what failed after its head had left."""
    return {"errorDetail": {"message": message}, "error": message}


@asynccontextmanager
async def told_lines(
    work: Callable[[Tell], Awaitable[None]],
    *,
    what: str,
    ahead: int = LINES_AHEAD,
    begun: trio.Event | None = None,
) -> AsyncIterator[AsyncIterable[bytes]]:
    """Do `work` while the block lasts: the lines are what it tells, and end with it.

    An error is its last line; one that is our bug is logged, as what failed with `what`. Who leaves
    the block before the end has cancelled the work. With `begun` the block is entered when the work
    tells something, or sets it: what fails before is raised, and is an answer with a status.
    """
    send, receive = trio.open_memory_channel[bytes](ahead)

    async def tell(message: Mapping[str, Any]) -> None:
        if begun is not None:
            begun.set()
        await send.send(message_line(message))

    def is_answered() -> bool:
        return begun is None or begun.is_set()

    async def do() -> None:
        async with send:
            try:
                await work(tell)
            except Exception as error:
                if not is_answered():
                    raise
                await tell(error_to_wire(_said(error, what)))
            else:
                if begun is not None:
                    begun.set()

    # The channel is closed last: work that waits for its client is cancelled, and sees no error.
    with receive, single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do)
            if begun is not None:
                await begun.wait()
            yield receive
            nursery.cancel_scope.cancel()


def _said(error: Exception, what: str) -> str:
    """What the client is told of an error; a body that breaks off is its own doing."""
    if isinstance(error, EngineError | ProtocolError):
        return str(error)
    logger.bind(service="api").opt(exception=error).error("work failed", what=what)
    return INTERNAL_ERROR
