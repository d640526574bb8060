"""Builds under way by the name that their client gave them: several calls speak of each.

`Control.Solve` is the call that owns a build: all of it is done in that call's task, and ends with
it. `LLBBridge`'s calls hand their requests to that task; `Control.Status` watches its board.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from services.errors import Conflict, DeadlineExceeded, EngineError, NotFound, Unavailable

from .board import StatusBoard

MAX_JOBS: Final = 64
MAX_ENDED: Final = 32  # whose boards can still be watched, as long as all of them are small:
MAX_ENDED_BYTES: Final = 4 << 20
APPEAR_LIMIT_S: Final = 30.0
SILENCE_LIMIT_S: Final = 600.0
"""How long a build may wait for what its client says next."""


@dataclass(slots=True, kw_only=True, eq=False)
class Ask:
    """A build that a client asks for within a job; `result` is what the client calls it by."""

    attributes: Mapping[str, str]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    result: str = ""
    error: EngineError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a client makes the job's result: a build of an `Ask`, "" for none, or an error."""

    result: str = ""
    error: EngineError | None = None


class Job:
    """One build as its client knows it."""

    def __init__(self, ref: str) -> None:
        self.ref: Final = ref
        self.board: Final = StatusBoard(ref)
        self._send, self._receive = trio.open_memory_channel[Ask | Returned](0)
        self._ended = trio.Event()

    async def ask(self, attributes: Mapping[str, str]) -> str:
        """Have a build made; what it is called by. Cancelled, it is broken off.

        Raises:
            EngineError: it failed.
        """
        ask = Ask(attributes=attributes)
        await self._hand_over(ask)
        try:
            await ask.done.wait()
        finally:
            ask.scope.cancel()
        if ask.error is not None:
            raise ask.error
        if not ask.result:
            raise Unavailable("the build was broken off")
        return ask.result

    async def give_back(self, returned: Returned) -> None:
        """The client is done with it. Raises Conflict when the job has ended."""
        await self._hand_over(returned)

    async def serve(self, build: Callable[[Mapping[str, str]], Awaitable[str]]) -> Returned:
        """Do what is asked for, until the client gives its result back.

        Raises:
            DeadlineExceeded: the client has nothing to say.
        """
        while True:
            with trio.move_on_after(SILENCE_LIMIT_S) as limit:
                asked = await self._receive.receive()
            if limit.cancelled_caught:
                raise DeadlineExceeded(f"the client has said nothing for {SILENCE_LIMIT_S:g} s")
            if isinstance(asked, Returned):
                return asked
            try:
                with asked.scope:
                    asked.result = await build(asked.attributes)
            except EngineError as error:
                asked.error = error
            finally:
                asked.done.set()

    def end(self) -> None:
        """Nothing more will be done or told."""
        self._ended.set()
        self._receive.close()
        self.board.close()

    async def _hand_over(self, asked: Ask | Returned) -> None:
        try:
            with trio.fail_after(SILENCE_LIMIT_S):
                await self._send.send(asked)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Conflict(f"the build {self.ref} has ended") from error
        except trio.TooSlowError as error:
            raise DeadlineExceeded(f"the build {self.ref} does not take requests") from error


class Jobs:
    """Those that are known."""

    def __init__(self) -> None:
        self._open: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}  # the oldest first
        self._changed = trio.lowlevel.ParkingLot()

    @contextmanager
    def opened(self, ref: str) -> Iterator[Job]:
        """A new one, which ends with the block.

        Raises:
            Conflict: the name is taken.
            Unavailable: there are too many.
        """
        if ref in self._open or ref in self._ended:
            raise Conflict(f"job ID {ref} exists")
        if len(self._open) >= MAX_JOBS:
            raise Unavailable(f"there are {MAX_JOBS} builds already; try again later")
        job = self._open[ref] = Job(ref)
        self._changed.unpark_all()
        try:
            yield job
        finally:
            del self._open[ref]
            job.end()
            self._ended[ref] = job
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """The newest stays, whatever its size: who watches may still be on the way to it."""
        size_bytes = sum(job.board.size_bytes for job in self._ended.values())
        while len(self._ended) > 1 and (
            len(self._ended) > MAX_ENDED or size_bytes > MAX_ENDED_BYTES
        ):
            oldest = self._ended.pop(next(iter(self._ended)))
            size_bytes -= oldest.board.size_bytes

    async def find(self, ref: str) -> Job:
        """The job of that name, also one that has just ended; waits a while for it to begin.

        Raises:
            NotFound: it does not.
        """
        with trio.move_on_after(APPEAR_LIMIT_S):
            while True:
                found = self._open.get(ref) or self._ended.get(ref)
                if found is not None:
                    return found
                await self._changed.park()
        raise NotFound(f"no such job {ref}")
