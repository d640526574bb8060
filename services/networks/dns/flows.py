"""Questions to one resolver by UDP, many at a time over few sockets.

Each question goes under a number drawn at random, from a port drawn at random; an answer counts
only if it has the number, comes from the resolver, and repeats the question. A port is used for a
short while and for few questions, so that nobody can guess for long.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio
from loguru import logger

from services.networks.dns import wire

log = logger.bind(service="dns")

LIFETIME_S: Final = 2.0
MOST_QUESTIONS: Final = 256

Opener = Callable[[int, int], Awaitable[socket.socket]]
"""Makes a socket of a family and a kind. Raises OSError."""


class NoAnswer(Exception):
    """The resolver could not be asked, or said that nobody listens."""


@dataclass(eq=False, slots=True)
class _Asked:
    """A question under way."""

    question: bytes
    done: trio.Event = field(default_factory=trio.Event)
    answer: bytes | None = None


class _Flow:
    """One socket, connected to the resolver."""

    def __init__(self, opened: trio.socket.SocketType) -> None:
        self._socket = opened
        self._asked: dict[int, _Asked] = {}
        self._questions = 0
        self._since = trio.current_time()
        self._is_retired = False
        self._reading = trio.CancelScope()

    @property
    def is_fresh(self) -> bool:
        """Whether it takes another question."""
        return (
            self._questions < MOST_QUESTIONS
            and trio.current_time() < self._since + LIFETIME_S
            and not self._is_retired
        )

    def retire(self) -> None:
        """Take no more questions; end when those under way are answered or given up."""
        self._is_retired = True
        self._end_if_done()

    async def read(self) -> None:
        """Hand out answers until nobody waits for one any more."""
        with self._reading, self._socket:
            while True:
                try:
                    message = await self._socket.recv(wire.LARGEST)
                except OSError:  # nobody listens there: what is asked now is lost
                    self._fail()
                else:
                    self._take(message)

    async def ask(self, data: bytes, question: bytes) -> bytes:
        """The resolver's answer, under the number that the question came with.

        Raises:
            NoAnswer: it cannot be reached. That it is silent is for the caller's patience to say.
        """
        self._questions += 1
        number = self._unused_number()
        asked = self._asked[number] = _Asked(question)
        try:
            await self._socket.send(wire.with_id(data, number))
            await asked.done.wait()
        except OSError as error:
            raise NoAnswer(str(error)) from error
        finally:
            del self._asked[number]
            self._end_if_done()
        if asked.answer is None:
            raise NoAnswer("nobody listens there")
        return wire.with_id(asked.answer, wire.id_of(data))

    def _take(self, message: bytes) -> None:
        if not wire.is_answer(message):
            return
        asked = self._asked.get(wire.id_of(message))
        if asked is None or not _repeats(message, asked.question):
            return
        asked.answer = message
        asked.done.set()

    def _fail(self) -> None:
        self._is_retired = True
        for asked in self._asked.values():
            asked.done.set()
        self._end_if_done()

    def _unused_number(self) -> int:
        while True:
            number = secrets.randbits(16)
            if number not in self._asked:
                return number

    def _end_if_done(self) -> None:
        if self._is_retired and not self._asked:
            self._reading.cancel()


class Flows:
    """The sockets to one resolver. Their tasks belong to `nursery`."""

    def __init__(
        self, address: tuple[str, int], *, open_socket: Opener, nursery: trio.Nursery
    ) -> None:
        self._address = address
        self._open_socket = open_socket
        self._nursery = nursery
        self._flow: _Flow | None = None
        self._opening = trio.Lock()

    async def ask(self, data: bytes) -> bytes:
        """As `_Flow.ask`.

        Raises:
            NoAnswer: the resolver cannot be reached.
        """
        question = wire.question_of(data)
        flow = self._flow
        if flow is None or not flow.is_fresh:
            async with self._opening:
                flow = self._flow
                if flow is None or not flow.is_fresh:
                    flow = await self._open()
        return await flow.ask(data, question)

    async def _open(self) -> _Flow:
        try:
            opened = await connected(self._address, socket.SOCK_DGRAM, self._open_socket)
        except OSError as error:
            raise NoAnswer(str(error)) from error
        if self._flow is not None:
            self._flow.retire()
        flow = self._flow = _Flow(opened)
        self._nursery.start_soon(flow.read)
        return flow


async def ask_by_tcp(address: tuple[str, int], data: bytes, open_socket: Opener) -> bytes:
    """A resolver's answer over a connection of its own.

    Raises:
        NoAnswer: it cannot be reached, or hangs up, or answers something else.
    """
    try:
        opened = await connected(address, socket.SOCK_STREAM, open_socket)
        async with trio.SocketStream(opened) as stream:
            number = secrets.randbits(16)
            await stream.send_all(framed(wire.with_id(data, number)))
            message = await read_framed(stream)
    except (OSError, trio.BrokenResourceError) as error:
        raise NoAnswer(str(error)) from error
    if message is None or not wire.is_answer(message) or wire.id_of(message) != number:
        raise NoAnswer("no answer came")
    if not _repeats(message, wire.question_of(data)):
        raise NoAnswer("the answer is to another question")
    return wire.with_id(message, wire.id_of(data))


async def connected(
    address: tuple[str, int], kind: int, open_socket: Opener
) -> trio.socket.SocketType:
    """A connected socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    opened = trio.socket.from_stdlib_socket(await open_socket(family, kind))
    try:
        await opened.connect(address)
    except BaseException:
        opened.close()
        raise
    return opened


def framed(message: bytes) -> bytes:
    """A message as TCP carries it."""
    return len(message).to_bytes(2, "big") + message


async def read_framed(stream: trio.SocketStream) -> bytes | None:
    """The next message; None at the end of the stream, also within a message."""
    head = await _exactly(stream, 2)
    return None if head is None else await _exactly(stream, int.from_bytes(head, "big"))


async def _exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        part = await stream.receive_some(count - len(data))
        if not part:
            return None
        data += part
    return data


def _repeats(message: bytes, question: bytes) -> bool:
    try:
        return wire.question_of(message) == question
    except wire.Malformed:
        return False
