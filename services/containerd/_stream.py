"""An RPC with a stream of messages in it."""

from __future__ import annotations

from typing import Generic

import trio

from services.errors import DeadlineExceeded

from ._link import Call, Link, Metadata
from ._method import Method, ReplyT, RequestT
from .errors import containerd_errors


class Stream(Generic[RequestT, ReplyT]):
    """For one task at a time. Unread messages wait in HTTP/2's window, and then in containerd.

    Each step must end within the method's limit, or raises DeadlineExceeded; Unavailable when the
    connection is lost. After any error only `close` is of use.
    """

    def __init__(
        self, link: Link, method: Method[RequestT, ReplyT], metadata: Metadata, what: str
    ) -> None:
        self._link = link
        self._method = method
        self._metadata = metadata
        self._what = what
        self._call: Call | None = None

    async def send(self, message: RequestT, *, end: bool = False) -> None:
        """Send a message, and with `end` say that it was the last."""
        with trio.move_on_after(self._method.limit_s), containerd_errors(self._what):
            if self._call is None:
                self._call = await self._link.open_call(self._method.route, self._metadata)
            await self._call.send(bytes(message), end=end)
            return
        raise self._too_late()

    async def receive(self) -> ReplyT | None:
        """The next message; None once containerd has ended the stream without an error."""
        assert self._call is not None, "nothing was sent"
        with trio.move_on_after(self._method.limit_s), containerd_errors(self._what):
            reply = await self._call.receive()
            return None if reply is None else self._method.reply.parse(reply)
        raise self._too_late()

    def __aiter__(self) -> Stream[RequestT, ReplyT]:
        return self

    async def __anext__(self) -> ReplyT:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def close(self) -> None:
        """End the call: containerd is told unless it has ended it."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def _too_late(self) -> DeadlineExceeded:
        limit_s = self._method.limit_s
        return DeadlineExceeded(f"{self._what}: no answer from containerd in {limit_s:g} s")
