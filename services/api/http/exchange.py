"""One request and its answer over HTTP/1.1: ASGI's `receive` and `send`, and the hijack.

An answer that is known whole goes out in one write. A streamed one sends its head with its first
part (an empty part sends the head alone), in chunks, or up to the close for an HTTP/1.0 client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from services.api.http.answer_head import BODILESS, answer_head
from services.api.http.asgi import EXTENSION, Message, Scope
from services.api.http.body import LengthReader, reader_for
from services.api.http.drain import Drain
from services.api.http.head import RequestHead
from services.api.http.hijack import HijackedStream
from services.api.http.transport import (
    BULK_READ_BYTES,
    PeerCredentials,
    Transport,
    linger,
    peer_credentials,
)

DISCARD_LIMIT_BYTES: Final = 256 * 1024
"""How much of a body that no handler read is read for the sake of the connection, as Go does."""

DISCARD_BUDGET_S: Final = 5.0

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JOIN_BELOW_BYTES: Final = 64 * 1024  # up to here one copy is cheaper than a second system call


class Exchange:
    """From a parsed head to the end of its answer. Owned by its connection's task."""

    def __init__(
        self,
        transport: Transport,
        buffer: bytearray,
        head: RequestHead,
        drain: Drain,
        *,
        unwatch: Callable[[], None],
        streams: Callable[[], None],
    ) -> None:
        self.began = False  # the answer's first byte is out; before that its start may still change
        self.drain = drain
        self._transport = transport
        self._buffer = buffer
        self._head = head
        self._unwatch, self._streams = unwatch, streams
        self._body = reader_for(head)
        self._empty_part_due = self._body.done  # ASGI owes one part also to a bodiless request
        self._continue_due = head.expects_continue and not self._body.done
        self._keep_alive = head.keep_alive
        self._start: Message | None = None
        self._chunked = False
        self._left: int | None = None  # bytes that the announced length still lacks
        self._complete = False
        self._hijacked: HijackedStream | None = None

    # ── the request ──────────────────────────────────────────────────────────────────────────

    def make_scope(self, base: Scope) -> Scope:
        """The ASGI scope: `base` is the connection's share of it."""
        head = self._head
        return {
            **base,
            "http_version": head.version,
            "method": head.method,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "headers": head.headers,
            "extensions": {EXTENSION: self},
        }

    async def receive(self) -> Message:
        """ASGI: the body in pieces as the socket gives them; then blocks until the client hangs up.

        Raises:
            ProtocolError: the body's framing is broken.
        """
        while not self._body.done:
            piece = self._take()
            if piece or self._body.done:
                # Nothing was waited for: a body that came at once must not starve other tasks.
                await trio.lowlevel.checkpoint()
                return self._part(piece)
            received = await self._read_body()
            if not received:
                self._keep_alive = False
                return {"type": "http.disconnect"}
            if isinstance(self._body, LengthReader) and self._body.claim(received):
                return self._part(received)
            self._buffer += received
        if self._complete:
            return {"type": "http.disconnect"}
        if self._empty_part_due:
            self._empty_part_due = False
            return self._part(b"")
        await trio.sleep_forever()
        raise AssertionError("sleep_forever returned")

    def _part(self, piece: bytes) -> Message:
        return {"type": "http.request", "body": piece, "more_body": not self._body.done}

    def _take(self) -> bytes:
        if not self._buffer:
            return b""
        try:
            return self._body.take(self._buffer)
        except Exception:
            self._keep_alive = False
            raise

    async def _read_body(self) -> bytes:
        """More of the body, not looked at yet; b"" if the client ended before it was whole."""
        if self._continue_due:
            self._continue_due = False
            if not self.began:
                await self._transport.send_all(_CONTINUE)
        return await self._transport.receive(BULK_READ_BYTES)

    # ── the answer ───────────────────────────────────────────────────────────────────────────

    async def send(self, message: Message) -> None:
        """ASGI: `http.response.start`, then `http.response.body` until `more_body` is false.

        Raises:
            BrokenResourceError: the client has gone.
            RuntimeError: the app broke ASGI's order or its own Content-Length.
        """
        kind = message["type"]
        if kind == "http.response.body":
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start":
            if self._start is not None or self._hijacked is not None:
                raise RuntimeError("the answer has already begun")
            self._start = message
        else:
            raise RuntimeError(f"unexpected ASGI message: {kind}")

    async def answer_closing(self, status: int, body: bytes) -> None:
        """A whole JSON answer in place of one that has not begun; the last on its connection."""
        self._keep_alive = False
        headers = [(b"Content-Type", b"application/json")]
        self._start = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send_body(body, more=False)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._start is None or self._complete:
            raise RuntimeError("a body part outside of an answer")
        head = b""
        if not self.began:
            head = self._render_head(whole_bytes=None if more else len(body))
            self.began = True
            if more:
                self._streams()
        self._complete = not more
        if self._head.method == "HEAD" or self._start["status"] in BODILESS:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                self._keep_alive = False
                raise RuntimeError("the body does not match its Content-Length")
        if self._chunked:
            await self._write_chunk(head, body, last=not more)
        else:
            await self._write(head, body, more=more)

    async def _write_chunk(self, head: bytes, body: bytes, *, last: bool) -> None:
        end = b"0\r\n\r\n" if last else b""
        if not body:
            await self._write(head + end, b"", more=not last)
        elif len(body) < _JOIN_BELOW_BYTES:
            await self._write(
                b"%b%x\r\n%b\r\n%b" % (head, len(body), body, end), b"", more=not last
            )
        else:
            await self._transport.send_all(b"%b%x\r\n" % (head, len(body)))
            await self._transport.send_all(body)
            await self._transport.send_all(b"\r\n" + end)

    async def _write(self, data: bytes, body: bytes, *, more: bool) -> None:
        if len(body) < _JOIN_BELOW_BYTES:
            data, body = data + body, b""
        for part in (data, body):
            if not part:
                continue
            sent = self._transport.send_now(part)
            if sent < len(part):
                await self._transport.send_all(memoryview(part)[sent:] if sent else part)
            elif more:
                # A stream into an eager reader would otherwise never let another task run.
                await trio.lowlevel.checkpoint()

    def _render_head(self, *, whole_bytes: int | None) -> bytes:
        """Decides framing and persistence; `whole_bytes` as in `answer_head`."""
        assert self._start is not None
        may_go_on = self._keep_alive and not self.drain.is_begun and self._worth_discarding()
        head = answer_head(self._start, self._head, whole_bytes=whole_bytes, keep_alive=may_go_on)
        self._left, self._chunked, self._keep_alive = (
            head.length_bytes,
            head.chunked,
            head.keep_alive,
        )
        return head.data

    def _worth_discarding(self) -> bool:
        """Whether what is left of the request's body is little enough to read over."""
        if self._body.done:
            return True
        if self._continue_due:
            return False  # the client may or may not send it: the next bytes cannot be told apart
        return self._head.chunked or self._head.content_length <= DISCARD_LIMIT_BYTES

    async def finish(self) -> bool:
        """After the app returned: make the connection ready for another request; whether it is."""
        if self._hijacked is not None:
            await linger(self._transport)
            return False
        if not self._complete:
            if not self.began:
                await self.answer_closing(
                    500, b'{"message":"the handler ended without an answer"}\n'
                )
                await linger(self._transport)
            return False
        if not self._body.done and self._keep_alive:
            with trio.move_on_after(DISCARD_BUDGET_S):
                await self._discard()
        if self._keep_alive and self._body.done:
            return True
        if not self._body.done or self._transport.has_input():
            await linger(self._transport)
        return False

    async def _discard(self) -> None:
        """Read over the rest of the body, up to the limit."""
        budget = DISCARD_LIMIT_BYTES
        while not self._body.done and budget > 0:
            budget -= len(self._take())
            if not self._body.done:
                received = await self._read_body()
                if not received:
                    return
                self._buffer += received

    # ── the connection ───────────────────────────────────────────────────────────────────────

    async def hijack(self, head: bytes) -> HijackedStream:
        """See `ConnectionExtension.hijack`."""
        if self._start is not None or self._hijacked is not None:
            raise RuntimeError("the answer has already begun")
        with trio.move_on_after(DISCARD_BUDGET_S):
            await self._discard()
        if not self._body.done:
            raise RuntimeError("a hijack needs the request's body read")
        self.began = True
        self._unwatch()
        self._hijacked = HijackedStream(self._transport, bytes(self._buffer))
        self._buffer.clear()
        await self._transport.send_all(head)
        return self._hijacked

    def ignore_hang_up(self) -> None:
        """See `ConnectionExtension.ignore_hang_up`."""
        self._unwatch()

    def peercred(self) -> PeerCredentials | None:
        """See `ConnectionExtension.peercred`."""
        return peer_credentials(self._transport.socket)

    def peercert(self) -> dict[str, Any] | None:
        """See `ConnectionExtension.peercert`."""
        return self._transport.peer_certificate()
