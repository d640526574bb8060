"""The connection to one server: kept up by a child, with a gate where calls wait for it.

A call may come from any trio task; it becomes an asyncio task on the loop that `run` keeps open
under trio-asyncio, and cancelling the trio task cancels the RPC. The loop outlives connections.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import trio
import trio_asyncio
from loguru import logger

from services.errors import DeadlineExceeded, EngineError, Unavailable
from services.measures import Counts, Durations

from .errors import Errors
from .link import Link, Target, open_link
from .method import Method, ReplyT, RequestT
from .stream import Stream

READY_WAIT_S: Final = 5.0  # how long a call waits for a connection before it fails
CONNECT_LIMIT_S: Final = 5.0  # from connect(2) to the peer's first answer
RETRY_FIRST_S: Final = 0.02
RETRY_MAX_S: Final = 0.5  # a unix socket costs next to nothing to try

MetadataOf = Callable[[], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom a connection leads to. `greet` makes the first call: who answers it is there."""

    name: str  # as messages call it
    target: Target
    errors: Errors
    greet: Callable[[Link], Awaitable[None]]
    metadata: MetadataOf = tuple  # of each call, asked for as it is made


def retry_delay_s(failures: int) -> float:
    """Seconds to wait after so many connects failed in a row."""
    return min(RETRY_FIRST_S * 2.0 ** min(failures - 1, 10), RETRY_MAX_S)


class Connection:
    """Calls to a peer. `run` is a supervised child.

    While there is no connection a call waits at the readiness gate, READY_WAIT_S at most. When the
    connection breaks, every call and stream on it ends with Unavailable at once; whether the peer
    had carried it out is unknown, so nothing is sent twice.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._log = logger.bind(service=peer.name)
        self.calls: Final = Durations()  # of unary calls, by method; not of those without a limit
        self.failures: Final = Counts()  # of those calls, by method and class of our error
        self._link: Link | None = None  # set exactly while `_ready` is
        self._ready = trio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether a call made now would be sent now."""
        return self._link is not None and not self._link.lost.is_set()

    async def wait_ready(self) -> None:
        """Block until the peer has answered on a connection that is still up. No limit."""
        while not self.is_ready:
            # Others run meanwhile even if it is set: a connection that was just lost stays in its
            # place until `_serve` has run, and who tries again at once would keep it from that.
            await self._ready.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a connection up until cancelled.

        Started once the first attempt was made: the peer being away is what the gate is for, and
        must not stop our own start, nor count as a failure of this child.
        """
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(report_to(self._peer.name))
            failures = 0
            while True:
                try:
                    with trio.fail_after(CONNECT_LIMIT_S):
                        link = await connect(loop, self._peer)
                except (EngineError, trio.TooSlowError) as error:
                    failures += 1
                    if failures == 1:
                        self._log.bind(error=str(error)).warning(
                            "{} is not answering", self._peer.name
                        )
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await trio.sleep(retry_delay_s(failures))
                    continue
                failures = 0
                await self._serve(link, task_status)
                task_status = trio.TASK_STATUS_IGNORED

    async def _serve(self, link: Link, task_status: trio.TaskStatus[None]) -> None:
        """Let calls through until `link` is lost."""
        self._link = link
        self._ready.set()
        self._log.info("connected to {}", self._peer.name)
        task_status.started()
        try:
            await link.lost.wait()
            self._log.warning("the connection to {} was lost", self._peer.name)
        finally:
            self._link = None
            self._ready = trio.Event()
            link.close()

    async def unary(
        self, method: Method[RequestT, ReplyT], request: RequestT, object_: str = ""
    ) -> ReplyT:
        """Call `method` and return its reply; `object_` names what it is about in error messages.

        Raises:
            DeadlineExceeded: no reply within the method's limit; its outcome is unknown.
            Unavailable: no connection, or it was lost under the call.
            EngineError: whatever the peer answered, by the peer's table.
        """
        began = perf_counter()
        try:
            reply = await self._unary(method, request, method.about(object_))
        except EngineError as error:
            self.failures.add(method.route, type(error).__name__)
            raise
        if method.limit_s < math.inf:
            self.calls.observe(method.route, perf_counter() - began)
        return reply

    async def _unary(
        self, method: Method[RequestT, ReplyT], request: RequestT, what: str
    ) -> ReplyT:
        with trio.move_on_after(method.limit_s):
            link = await self._usable_link(what)
            with self._peer.errors(what):
                return await link.run(link.unary(method, request, self._peer.metadata()))
        raise DeadlineExceeded(f"{what}: no answer from {self._peer.name} in {method.limit_s:g} s")

    @asynccontextmanager
    async def stream(
        self, method: Method[RequestT, ReplyT], object_: str = ""
    ) -> AsyncIterator[Stream[RequestT, ReplyT]]:
        """A call of `method` with a stream in it; leaving the block, in any way, ends the call."""
        what = method.about(object_)
        link = await self._usable_link(what)
        stream = Stream(link, method, self._peer.metadata(), what, self._peer.errors)
        try:
            yield stream
        finally:
            await stream.close()

    async def collect(
        self, method: Method[RequestT, ReplyT], request: RequestT, object_: str = ""
    ) -> list[ReplyT]:
        """All messages of a call that answers with a stream of them."""
        async with self.stream(method, object_) as stream:
            await stream.send(request, end=True)
            return [message async for message in stream]

    async def _usable_link(self, what: str) -> Link:
        if not self.is_ready:
            with trio.move_on_after(READY_WAIT_S):
                await self.wait_ready()
        if self._link is None or self._link.lost.is_set():
            name, target = self._peer.name, self._peer.target
            raise Unavailable(f"{what}: {name} at {target} is not answering")
        return self._link


def report_to(name: str) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """asyncio's handler of last resort. The transport closed its connection; the loop goes on."""

    def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        logger.bind(service=name).opt(exception=context.get("exception")).error(
            "error in the connection to {}: {}", name, context.get("message", "")
        )

    return report


async def connect(loop: trio_asyncio.TrioEventLoop, peer: Peer) -> Link:
    """A link on which the peer has answered. No limit."""
    link = await open_link(loop, peer.target, peer=peer.name, errors=peer.errors)
    try:
        await peer.greet(link)
    except BaseException:
        link.close()
        raise
    return link


async def probe(peer: Peer) -> bool:
    """Whether the peer answers, on a connection of its own. No limit."""
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(report_to(peer.name))
        try:
            link = await connect(loop, peer)
        except EngineError:
            return False
        link.close()
        return True
