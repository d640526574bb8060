"""The head of an answer, kept until its first body is there: both are seen before they leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.api.http.asgi import Message, Send

Look = Callable[[Message, Message], Awaitable[tuple[Message, Message]]]
"""Given an answer's head and its first body; returns what is sent in their place."""


class HeldStart:
    """Stands before a `send`.

    Attributes:
        is_passed: the head has left, and nothing is kept any more.
    """

    def __init__(self, send: Send, look: Look) -> None:
        self._send = send
        self._look = look
        self._start: Message | None = None
        self.is_passed = False

    async def send(self, message: Message) -> None:
        """ASGI's `send`. Raises what `look` raises; nothing has left then."""
        if self.is_passed:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._start = message
        elif self._start is None:  # the server says what is wrong with that
            await self._send(message)
        else:
            start, message = await self._look(self._start, message)
            self.is_passed = True
            await self._send(start)
            await self._send(message)
