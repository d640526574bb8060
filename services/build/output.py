"""What a build tells its client, stage after stage though they are built at the same time.

What a later stage says is held back until the ones before it have ended; a stage that has too much
to say waits for its turn.
"""

from __future__ import annotations

import codecs
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

MESSAGES_AHEAD: Final = 4096  # of a stage whose turn has not come

Message = Mapping[str, Any]
Tell = Callable[[Message], Awaitable[None]]


class StageOutput:
    """One stage's messages. Leave the block when it has ended."""

    def __init__(self) -> None:
        self._send, self.receive = trio.open_memory_channel[Message](MESSAGES_AHEAD)

    async def say(self, text: str) -> None:
        """A piece of text for people, with its line breaks."""
        await self._send.send({"stream": text})

    async def tell(self, message: Message) -> None:
        """Any message."""
        await self._send.send(message)

    def close(self) -> None:
        """There is no more."""
        self._send.close()


class Decoder:
    """A process's output as text, whatever the places where it was cut."""

    def __init__(self) -> None:
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in "oe"}

    def decode(self, *, is_stderr: bool, data: bytes) -> str:
        """The text that is whole by now."""
        return self._decoders["e" if is_stderr else "o"].decode(data)


async def forward(outputs: list[StageOutput], tell: Tell) -> None:
    """Hand on everything, one stage after the other; ends when all have ended."""
    for output in outputs:
        async with output.receive:
            async for message in output.receive:
                await tell(message)
