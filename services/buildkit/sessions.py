"""Clients' sessions: connections over which the engine asks the client, while a build runs.

Source: BuildKit, session/manager.go (HandleHTTPRequest, Get) and session/group.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import trio
import trio_asyncio
from betterproto2 import Message

from services.errors import Conflict, InvalidParameter, NotFound, NotSupported, Unavailable
from services.grpc.errors import grpc_errors
from services.grpc.link import Link, open_link_on
from services.grpc.method import Method
from services.grpc.stream import Stream

from .methods import CLIENT
from .plug import plugged

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)

client_errors: Final = partial(grpc_errors, peer=CLIENT)
"""What goes wrong with a client, in the engine's own classes."""

MAX_SESSIONS: Final = 64
APPEAR_LIMIT_S: Final = 10.0
"""How long a build waits for its session: a client opens both at the same time."""

MAX_METHODS: Final = 256
_MAX_ID_CHARS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHead:
    """What a client says of a session as it opens it. `methods` are those that it answers."""

    id: str
    name: str
    methods: frozenset[str]


def session_head(id_: str, name: str, methods: Sequence[str]) -> SessionHead:
    """From the headers of POST /session (X-Docker-Expose-Session-*).

    Raises:
        InvalidParameter: there is no id, or too much.
    """
    if not id_:
        raise InvalidParameter("a session needs an id (X-Docker-Expose-Session-Uuid)")
    if len(id_) > _MAX_ID_CHARS or len(methods) > MAX_METHODS:
        raise InvalidParameter("the headers of the session are too large")
    return SessionHead(id=id_, name=name, methods=frozenset(methods))


class Session:
    """One client's, as long as its connection is there."""

    def __init__(self, head: SessionHead, link: Link) -> None:
        self.head: Final = head
        self._link = link

    @property
    def lost(self) -> trio.Event:
        """Set when the client has gone."""
        return self._link.lost

    def offers(self, method: Method[Any, Any]) -> bool:
        """Whether the client has said that it answers this call."""
        return method.route in self.head.methods

    async def call(self, method: Method[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """One question. Raises NotSupported where the client does not answer such."""
        self._check(method)
        what = method.about("")
        with client_errors(what):
            with trio.move_on_after(method.limit_s):
                return await self._link.run(self._link.unary(method, request, ()))
        raise Unavailable(f"{what}: no answer in {method.limit_s:g} s")

    @asynccontextmanager
    async def stream(
        self,
        method: Method[RequestT, ReplyT],
        metadata: Sequence[tuple[str, str]],
        *,
        is_one_way: bool = False,
    ) -> AsyncIterator[Stream[RequestT, ReplyT]]:
        """A call with messages both ways, begun; ended with the block. `is_one_way`: the client
        alone sends some."""
        self._check(method)
        stream = Stream(self._link, method, metadata, method.about(""), client_errors)
        try:
            await stream.begin(end=is_one_way)
            yield stream
        finally:
            await stream.close()

    def _check(self, method: Method[Any, Any]) -> None:
        if not self.offers(method):
            raise NotSupported(f"the client offers no {method.route.lstrip('/')}")


class Sessions:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._begun = 0  # with those whose HTTP/2 is not there yet

    def __len__(self) -> int:
        return len(self._open)

    def check(self, head: SessionHead) -> None:
        """Raises Conflict for an id that is taken, Unavailable when there are too many."""
        if head.id in self._open:
            raise Conflict(f"session {head.id} exists already")
        if self._begun >= MAX_SESSIONS:
            raise Unavailable(f"there are {MAX_SESSIONS} build sessions already; try again later")

    async def serve(self, head: SessionHead, stream: trio.abc.HalfCloseableStream) -> None:
        """Have the session open until the client goes."""
        self._begun += 1
        try:
            async with trio_asyncio.open_loop() as loop, plugged(stream) as connection:
                link = await open_link_on(loop, connection)
                self._open[head.id] = Session(head, link)
                self._changed.unpark_all()
                try:
                    await link.lost.wait()
                finally:
                    del self._open[head.id]
                    link.close()
        finally:
            self._begun -= 1

    async def find(self, id_: str) -> Session:
        """The session of that id; waits for it for a while.

        Raises:
            InvalidParameter: there is no id.
            NotFound: it does not come.
        """
        if not id_:
            raise InvalidParameter("the build has no session")
        with trio.move_on_after(APPEAR_LIMIT_S):
            while id_ not in self._open:
                await self._changed.park()
            return self._open[id_]
        raise NotFound(f"no active session for {id_}")


def encoded_metadata(values: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Metadata of a call; what does not go into a header as it is, as a part of a URL.

    Source: BuildKit, session/filesync/filesync.go (encodeOpts).
    """
    from urllib.parse import quote_plus

    found = []
    for name, texts in values.items():
        if all(text.isascii() and text.isprintable() for text in texts):
            found += [(name, text) for text in texts]
        else:
            found.append((f"{name}-encoded", "1"))
            found += [(name, quote_plus(text, errors="surrogateescape")) for text in texts]
    return found
