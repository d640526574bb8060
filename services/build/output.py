"""What a build tells, stage after stage though they are built at the same time.

`TextOutputs` writes dockerd's text. What a later stage says is held back there until the ones
before it have ended; a stage that has too much to say waits for its turn.
"""

from __future__ import annotations

import codecs
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import trio

from services.dockerfile import Line

from .plan import Stage

MESSAGES_AHEAD: Final = 4096  # of a stage whose turn has not come

Message = Mapping[str, Any]
Tell = Callable[[Message], Awaitable[None]]


class StageOutput(Protocol):
    """Hears what one stage does. `close` it when the stage has ended."""

    async def begin(self, line: Line, number: int, steps: int) -> None:
        """An instruction begins, the FROM too; it is the given one of all the build's steps."""

    async def trigger(self, line: Line) -> None:
        """An ONBUILD instruction of the base image begins."""

    async def cached(self) -> None:
        """What the instruction makes was there."""

    async def print(self, text: str, *, is_stderr: bool) -> None:
        """A process's output."""

    async def say(self, text: str) -> None:
        """A remark for those who read dockerd's text."""

    async def tell(self, message: Message) -> None:
        """A message of a pull."""

    async def end(self) -> None:
        """The instruction has succeeded."""

    async def fail(self, error: Exception) -> None:
        """The stage has failed, where it is."""

    def close(self) -> None:
        """There is no more."""


class Outputs(Protocol):
    """Hears what a build does."""

    def open(self, stages: Sequence[Stage]) -> Sequence[StageOutput]:
        """One for each stage, before any begins."""

    async def forward(self) -> None:
        """Hand on what the stages say; ends when all of them are closed."""

    async def warn(self, text: str) -> None:
        """A remark about the build as a whole."""


class TextOutput:
    """One stage's messages, as the classic builder's clients show them."""

    def __init__(self) -> None:
        self._send, self.receive = trio.open_memory_channel[Message](MESSAGES_AHEAD)

    async def begin(self, line: Line, number: int, steps: int) -> None:
        """See `StageOutput`."""
        await self.say(f"Step {number}/{steps} : {line.text}\n")

    async def trigger(self, line: Line) -> None:
        """See `StageOutput`; their number was told."""

    async def cached(self) -> None:
        """See `StageOutput`."""
        await self.say(" ---> Using cache\n")

    async def print(self, text: str, *, is_stderr: bool) -> None:  # noqa: ARG002
        """See `StageOutput`. dockerd's text does not tell the streams apart."""
        await self.say(text)

    async def say(self, text: str) -> None:
        """A piece of text for people, with its line breaks."""
        await self._send.send({"stream": text})

    async def tell(self, message: Message) -> None:
        """Any message."""
        await self._send.send(message)

    async def end(self) -> None:
        """See `StageOutput`."""

    async def fail(self, error: Exception) -> None:
        """See `StageOutput`; the answer's last line is the error."""

    def close(self) -> None:
        """There is no more."""
        self._send.close()


class TextOutputs:
    """A build's messages as dockerd's text, handed to `tell`."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._outputs: Sequence[TextOutput] = ()

    def open(self, stages: Sequence[Stage]) -> Sequence[StageOutput]:
        """See `Outputs`."""
        self._outputs = [TextOutput() for _ in stages]
        return self._outputs

    async def forward(self) -> None:
        """One stage after the other."""
        for output in self._outputs:
            async with output.receive:
                async for message in output.receive:
                    await self._tell(message)

    async def warn(self, text: str) -> None:
        """See `Outputs`."""
        await self._tell({"stream": f"[Warning] {text}\n"})


class Decoder:
    """A process's output as text, whatever the places where it was cut."""

    def __init__(self) -> None:
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in "oe"}

    def decode(self, *, is_stderr: bool, data: bytes) -> str:
        """The text that is whole by now."""
        return self._decoders["e" if is_stderr else "o"].decode(data)
