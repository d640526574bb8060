"""One container's questions: its sockets, and who answers.

What a container may use is bounded, so that it can take nothing from others: questions that others
are asked (further ones are refused, as dockerd does), and TCP connections (further ones wait in the
backlog). One that a container repeats while it is being asked already is not asked twice.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from loguru import logger

from services.networks.dns import wire
from services.networks.dns.answers import (
    BadQuery,
    Query,
    View,
    answer,
    empty_answer,
    read_query,
)
from services.networks.dns.flows import framed, read_framed
from services.networks.dns.sockets import Listening

log = logger.bind(service="dns")

MOST_ASKED: Final = 1024
"""dockerd's bound on the questions of one container that others are asked."""

MOST_CONNECTIONS: Final = 16
IDLE_LIMIT_S: Final = 10.0
"""For how long a connection may be silent, or leave an answer unread."""

AT_ONCE: Final = 32
PAUSE_S: Final = 0.001
"""Who has this many questions waiting is kept waiting so long after them: some 10,000 a second for
one container, and half of the loop's time for the rest of the engine."""

TELL_AGAIN_S: Final = 10.0

_OUT_OF_FILES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Others(Protocol):
    """Those who know what the container's networks do not."""

    def cached(self, data: bytes, *, is_tcp: bool) -> bytes | None:
        """What they have said before, if it still holds."""

    async def ask(self, data: bytes, *, is_tcp: bool, leads_out: bool) -> bytes:
        """What they say, or that they say nothing; in bounded time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The container that asks.

    `leads_out` is whether it may be led out through the host. `keeps_short_names`: a name without a
    dot that nobody has is not asked of others; its search list is to be tried (`ndots`). `turn`
    counts answers.
    """

    container_id: str
    view: View
    leads_out: Callable[[], bool]
    keeps_short_names: bool
    turn: Callable[[], int]


class Serving:
    """Reads a container's questions and answers them."""

    def __init__(self, client: Client, listening: Listening, others: Others) -> None:
        self._client = client
        self._listening = listening
        self._others = others
        self._asked: set[tuple[object, bytes]] = set()
        self._quiet_until = 0.0

    async def run(self) -> None:
        """Until cancelled. The sockets stay open."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, nursery)
            nursery.start_soon(self._accept, nursery)

    async def _read(self, nursery: trio.Nursery) -> None:
        udp = self._listening.udp
        while True:
            await trio.lowlevel.wait_readable(udp)
            for _ in range(AT_ONCE):
                try:
                    data, sender = udp.recvfrom(wire.LARGEST)
                except BlockingIOError:
                    break
                reply = self._at_once(data, is_tcp=False)
                if isinstance(reply, Query):
                    reply = self._begin(nursery, data, sender)
                if reply is not None:
                    self._send(reply, sender)
            else:
                await trio.sleep(PAUSE_S)

    def _begin(self, nursery: trio.Nursery, data: bytes, sender: tuple[str, int]) -> bytes | None:
        """Ask others, if that may be; the answer is one that says that it may not."""
        if (sender, data) in self._asked:
            return None
        if self._is_full():
            return wire.refusal(data, wire.REFUSED)
        self._asked.add((sender, data))
        nursery.start_soon(self._ask_for, data, sender)
        return None

    async def _ask_for(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            self._send(await self._ask(data, is_tcp=False), sender)
        finally:
            self._asked.discard((sender, data))

    def _send(self, reply: bytes, sender: tuple[str, int]) -> None:
        try:
            self._listening.udp.sendto(reply, sender)
        except OSError as error:  # a full buffer, an answer too large: as lost on the way
            log.debug("answer not sent", container=self._client.container_id, error=str(error))

    async def _accept(self, nursery: trio.Nursery) -> None:
        tcp = self._listening.tcp
        places = trio.Semaphore(MOST_CONNECTIONS)
        while True:
            await places.acquire()
            nursery.start_soon(self._talk, await _accepted(tcp), places)

    async def _talk(self, connection: socket.socket, places: trio.Semaphore) -> None:
        """Answer one question after the other, until the client has no more."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        try:
            async with stream:
                while await self._answer_next(stream):
                    pass
        except trio.BrokenResourceError:
            pass  # it has left
        finally:
            places.release()

    async def _answer_next(self, stream: trio.SocketStream) -> bool:
        data = None
        with trio.move_on_after(IDLE_LIMIT_S):
            data = await read_framed(stream)
        if data is None:
            return False
        reply = self._at_once(data, is_tcp=True)
        if isinstance(reply, Query):
            reply = await self._ask_in_turn(data)
        if reply is None:
            return False
        with trio.move_on_after(IDLE_LIMIT_S) as limit:
            await stream.send_all(framed(reply))
        return not limit.cancelled_caught

    async def _ask_in_turn(self, data: bytes) -> bytes:
        if self._is_full():
            return wire.refusal(data, wire.REFUSED)
        mark = (object(), data)
        self._asked.add(mark)
        try:
            return await self._ask(data, is_tcp=True)
        finally:
            self._asked.discard(mark)

    def _at_once(self, data: bytes, *, is_tcp: bool) -> Query | bytes | None:
        """An answer that needs nobody else; None for none; the query if others are to be asked."""
        try:
            query = read_query(data, is_tcp=is_tcp)
            known = answer(query, self._client.view, turn=self._client.turn())
            if known is None and self._is_kept(query):
                known = empty_answer(query)
            return known or self._others.cached(data, is_tcp=is_tcp) or query
        except BadQuery as bad:
            return bad.answer
        except Exception as error:
            # Anybody may write what they like into a question. Should one meet a mistake of ours,
            # it must cost whoever asks it an answer, and not everybody the server.
            log.opt(exception=error).error("question failed", container=self._client.container_id)
            return wire.refusal(data, wire.SERVFAIL)

    def _is_kept(self, query: Query) -> bool:
        is_short = "." not in query.name and query.type in (wire.A, wire.AAAA)
        return is_short and self._client.keeps_short_names

    async def _ask(self, data: bytes, *, is_tcp: bool) -> bytes:
        return await self._others.ask(data, is_tcp=is_tcp, leads_out=self._client.leads_out())

    def _is_full(self) -> bool:
        if len(self._asked) < MOST_ASKED:
            return False
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + TELL_AGAIN_S
            log.warning("too many questions at once", container=self._client.container_id)
        return True


async def _accepted(listener: socket.socket) -> socket.socket:
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            continue
        except OSError as error:
            if error.errno not in _OUT_OF_FILES:
                raise
            await trio.sleep(0.1)  # it waits in the backlog meanwhile
            continue
        connection.setblocking(False)
        return connection
