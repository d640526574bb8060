"""HTTP/1.1 on one connection: heads and bodies in, an ASGI app called for each, answers out.

One task per connection and none per request: the app is called inline, its `receive` reads the
socket, so a body that nobody reads is held back by TCP and not by our memory. A client that hangs
up ends the connection's scope and with it the handler.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Protocol

import trio
from loguru import logger

from services.api.http.asgi import ASGIApp, Scope
from services.api.http.drain import Drain
from services.api.http.exchange import Exchange
from services.api.http.head import ProtocolError, RequestHead, is_h2_preface, parse_head, split_head
from services.api.http.transport import ClientGone, Transport, linger

HEAD_BUDGET_S: Final = 30.0
"""From a request's first byte to the end of its head."""

FRESH_GRACE_S: Final = 1.0
"""At a drain, how long a connection that has not sent its first request yet may still send it."""

INTERNAL_ERROR: Final = b'{"message":"internal error: the daemon\'s log has the details"}\n'
_GONE: Final = (ClientGone, trio.ClosedResourceError)


class End(enum.Enum):
    """Why `Http1Connection.serve` returned."""

    CLOSED = enum.auto()
    HTTP2 = enum.auto()
    WEBSOCKET = enum.auto()


class ActiveRequests(Protocol):
    """Who watches the peers of silent handlers."""

    def request_began(self, connection: Http1Connection) -> None:
        """A handler runs from now on."""

    def answer_streams(self, connection: Http1Connection) -> None:
        """Its answer has begun and is more than one piece: who ends its direction has gone."""

    def request_ended(self, connection: Http1Connection) -> None:
        """It no longer does, or it has taken the socket over."""


def is_for_websockets(head: RequestHead) -> bool:
    """Whether a request asks for a websocket; attach speaks it itself, on the raw connection."""
    if head.upgrade is None or head.upgrade.lower() != b"websocket":
        return False
    return not head.path.endswith("/attach/ws")


class Http1Connection:
    """One accepted connection, from its first byte to its close or hand-over."""

    def __init__(
        self,
        transport: Transport,
        app: ASGIApp,
        *,
        drain: Drain,
        active: ActiveRequests,
        base_scope: Scope,
    ) -> None:
        self.transport = transport
        self.scope = trio.CancelScope()  # ends the connection: hang-up, head time-out, drain
        self.drain = drain
        self.active = active
        self.buffer = bytearray()
        self._app = app
        self._base_scope = base_scope
        self._idle = True
        self._served = 0

    async def serve(self) -> End:
        """Serve requests until the connection ends or turns into something else.

        Closes the transport, except at a hand-over: then `buffer` holds what was read but not
        answered.
        """
        with self.scope:
            try:
                end = await self._serve()
            except _GONE:
                end = End.CLOSED
            if end is not End.CLOSED:
                return end
        await self.transport.aclose()
        return End.CLOSED

    def begin_drain(self) -> None:
        """Close if nothing is being asked.

        A connection on which nothing was asked yet gets a moment more: its client could not know,
        and would count it as refused.
        """
        if not self._idle:
            return
        if self._served and not self.transport.has_input():
            self.scope.cancel()
        else:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + FRESH_GRACE_S)

    async def _serve(self) -> End:
        while True:
            try:
                data = await self._next_head()
                if data is None:
                    return End.CLOSED
                if is_h2_preface(data):
                    self.buffer[:0] = data
                    return End.HTTP2
                head = parse_head(data)
            except ProtocolError as error:
                await self._refuse(error)
                return End.CLOSED
            if is_for_websockets(head):
                self.buffer[:0] = data
                return End.WEBSOCKET
            if not await self._exchange(head):
                return End.CLOSED
            self._served += 1

    async def _next_head(self) -> bytes | None:
        """The next request's head as it came; None if the peer or the drain ended all this."""
        data = split_head(self.buffer) if self.buffer else None
        if data is not None:
            await (
                trio.lowlevel.checkpoint()
            )  # or a client that pipelines would keep the loop to itself
            return data
        if self._served and self.drain.is_begun and not self.buffer:
            return None
        self._idle = not self.buffer
        if self.buffer:
            self.scope.deadline = trio.current_time() + HEAD_BUDGET_S
        while data is None:
            received = await self.transport.receive()
            if not received:
                return None
            self.buffer += received
            data = split_head(self.buffer)
            if data is None and self._idle:
                self._idle = False
                self.scope.deadline = trio.current_time() + HEAD_BUDGET_S
        self._idle = False
        if self.scope.deadline != math.inf:
            self.scope.deadline = math.inf
        return data

    async def _exchange(self, head: RequestHead) -> bool:
        """One request and its answer; whether the connection can carry another."""
        exchange = Exchange(
            self.transport,
            self.buffer,
            head,
            self.drain,
            unwatch=self._unwatch,
            streams=self._streams,
        )
        self.active.request_began(self)
        try:
            await self._app(exchange.make_scope(self._base_scope), exchange.receive, exchange.send)
        except ProtocolError as error:
            # A body's framing broke under a handler that did not answer for it.
            if not exchange.began:
                await self._refuse(error)
            return False
        except _GONE:
            return False
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None:
                await self._failed(exchange, head, rest)
            if cancelled is not None:
                raise cancelled from None
            return False
        except Exception as error:
            await self._failed(exchange, head, error)
            return False
        finally:
            self.active.request_ended(self)
        return await exchange.finish()

    def _streams(self) -> None:
        """A handler has sent the first piece of several."""
        self.active.answer_streams(self)

    def _unwatch(self) -> None:
        """A handler has taken the socket over, or wants to end what it began."""
        self.active.request_ended(self)

    async def _failed(self, exchange: Exchange, head: RequestHead, error: BaseException) -> None:
        """Log what no handler expected; say so to a client that has heard nothing yet.

        An answer that has begun is cut: its last chunk would tell the client that all had come.
        """
        if _only_gone(error):
            return
        logger.bind(service="api").opt(exception=error).error(
            "handler failed", method=head.method, path=head.path
        )
        if not exchange.began:
            await exchange.answer_closing(500, INTERNAL_ERROR)
            await linger(self.transport)

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer what is not HTTP as Go's server does, and let the peer read it."""
        status = f"{error.status} {error.reason}" + (f": {error.detail}" if error.detail else "")
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Connection: close\r\n\r\n{status}"
        )
        await self.transport.send_all(answer.encode("latin-1"))
        await linger(self.transport)


def _only_gone(error: BaseException) -> bool:
    """Whether there is nothing in it but that the client went away."""
    if isinstance(error, BaseExceptionGroup):
        return all(_only_gone(inner) for inner in error.exceptions)
    return isinstance(error, _GONE)
