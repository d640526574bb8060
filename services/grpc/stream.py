"""An RPC with a stream of messages in it, as trio sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, NoReturn, TypeVar

import trio
from grpclib.exceptions import StreamTerminatedError

from services.errors import DeadlineExceeded, EngineError

from .errors import Errors
from .link import Link, bound_messages
from .method import Method, ReplyT, RequestT

T = TypeVar("T")

CLOSE_LIMIT_S: Final = 2.0


class Stream(Generic[RequestT, ReplyT]):
    """For one task at a time. Unread messages wait in HTTP/2's window, and then with the peer.

    Each step must end within the method's limit, or raises DeadlineExceeded; Unavailable when the
    connection is lost. After any error only `close` is of use.
    """

    def __init__(
        self,
        link: Link,
        method: Method[RequestT, ReplyT],
        metadata: Iterable[tuple[str, str]],
        what: str,
        errors: Errors,
    ) -> None:
        self._link = link
        self._errors = errors
        self._peer = method.peer
        self._limit_s = method.limit_s
        self._reply_limit_bytes = method.reply_limit_bytes
        self._what = what
        self._call = link.request(method, metadata)
        self._is_open = False
        self._is_done = False

    async def begin(self, *, end: bool = False) -> None:
        """Begin the call without a message: the peer is to speak first, or with `end` alone."""
        await self._step(self._begin(end))

    async def send(self, message: RequestT, *, end: bool = False) -> None:
        """Send a message, and with `end` say that it was the last."""
        await self._step(self._send(message, end))

    async def receive(self) -> ReplyT | None:
        """The next message; None once the peer has ended the stream without an error."""
        message: ReplyT | None = await self._step(self._receive())
        return message

    async def receive_run(self, is_last: Callable[[ReplyT], bool]) -> list[ReplyT]:
        """Messages up to the one that `is_last`, or the end: cheaper than one after the other.

        All of them must come within the limit. [] once the peer has ended the stream.
        """
        return await self._step(self._receive_run(is_last))

    def __aiter__(self) -> Stream[RequestT, ReplyT]:
        return self

    async def __anext__(self) -> ReplyT:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def close(self) -> None:
        """End the call: the peer is told unless it has ended it. Cancelled or not, this runs."""
        if not self._is_open:
            return
        self._is_open = False
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
            # The exception makes grpclib reset the stream instead of waiting for its end.
            left = None if self._is_done else asyncio.CancelledError()
            try:
                with self._errors(self._what):
                    await self._link.run(self._exit(left))
            except EngineError:
                if not self._link.lost.is_set():
                    raise
                # The connection is gone and the call with it; receive() said so.

    async def _begin(self, end: bool) -> None:
        await self._enter()
        await self._call.send_request(end=end)
        bound_messages(self._call, self._reply_limit_bytes)

    async def _send(self, message: RequestT, end: bool) -> None:
        await self._enter()
        try:
            await self._call.send_message(message, end=end)
        except StreamTerminatedError as error:
            await self._raise_status(error)

    async def _receive(self) -> ReplyT | None:
        try:
            message: ReplyT | None = await self._call.recv_message()
            if message is None:
                await self._call.recv_trailing_metadata()  # raises the error that ended the stream
        except StreamTerminatedError as error:
            await self._raise_status(error)
        self._is_done = message is None
        return message

    async def _receive_run(self, is_last: Callable[[ReplyT], bool]) -> list[ReplyT]:
        found: list[ReplyT] = []
        while (message := await self._receive()) is not None:
            found.append(message)
            if is_last(message):
                break
        return found

    async def _raise_status(self, error: StreamTerminatedError) -> NoReturn:
        """The peer answers with an error and resets the stream; grpclib sees the reset first."""
        self._is_open = False
        await self._exit(error)  # raises the status, if one has come
        raise error

    async def _enter(self) -> None:
        if not self._is_open:
            await self._call.__aenter__()
            self._is_open = True

    async def _exit(self, error: BaseException | None) -> None:
        await self._call.__aexit__(type(error) if error else None, error, None)

    async def _step(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with trio.move_on_after(self._limit_s), self._errors(self._what):
            return await self._link.run(coroutine)
        raise DeadlineExceeded(f"{self._what}: no answer from {self._peer} in {self._limit_s:g} s")
