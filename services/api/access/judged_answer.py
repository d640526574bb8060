"""An answer that waits for a verdict before its first byte leaves, or its connection is taken over.

A whole answer is shown to the judge with its body. Of a stream, and of a connection that leaves
HTTP, only the head is there to be shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from services.api.access.held_start import HeldStart
from services.api.access.refusal import Header, Refused, refuse
from services.api.access.seen_connection import status_of, with_seen_connection
from services.api.http.asgi import Message, Scope, Send
from services.errors import EngineError

Judge = Callable[[int, Sequence[Header], bytes | None], Awaitable[bytes | None]]
"""Given status, headers and the body of a whole answer (None for what goes on). Returns the body
to send instead, or None for the same; raises an EngineError, which is told in its place."""


class JudgedAnswer:
    """Stands before a `send`. Raises Refused once something else was answered."""

    def __init__(self, send: Send, judge: Judge, identity: Sequence[tuple[str, str]]) -> None:
        self._send = send
        self._judge = judge
        self._identity = identity
        self._held = HeldStart(send, self._look)
        self.send: Final = self._held.send

    async def _look(self, start: Message, message: Message) -> tuple[Message, Message]:
        is_whole = not message.get("more_body", False)
        body = message.get("body", b"") if is_whole else None
        changed = await self._ask(start["status"], tuple(start.get("headers", ())), body)
        if changed is not None:
            start = {**start, "headers": _without_length(start.get("headers", ()))}
            message = {**message, "body": changed}
        return start, message

    async def _ask(
        self, status: int, headers: Sequence[Header], body: bytes | None
    ) -> bytes | None:
        try:
            return await self._judge(status, headers, body)
        except EngineError as error:
            self._held.is_passed = True
            await refuse(self._send, error, self._identity)
            raise Refused from error

    async def judge_hijack(self, head: bytes) -> None:
        """The connection is about to leave HTTP, with this head."""
        await self._ask(status_of(head), _fields(head), None)

    def scope(self, scope: Scope) -> Scope:
        """A request's scope, in which taking the connection over is judged too."""
        return with_seen_connection(scope, self.judge_hijack)


def _without_length(headers: Sequence[Header]) -> list[Header]:
    return [field for field in headers if field[0].lower() != b"content-length"]


def _fields(head: bytes) -> tuple[Header, ...]:
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:] if b":" in line]
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)
