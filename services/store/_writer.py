"""The writer: one thread that owns the writing connection and commits whatever waits, together.

A dedicated thread rather than trio.to_thread: the hand-over there costs as much again as the
fsync (measured: 0.1 ms), and the connection would wander between threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import outcome
import trio

from ._database import WriteConnection, open_writer
from ._room import Room
from ._transaction import Closure, Outcome, commit_together
from .migrations import Migration

BATCH_LIMIT = 512  # closures a transaction; more wait for the next one
ROOM_EVERY = 64  # commits until we look whether the database still has room of its own


class Job:
    """One closure on its way: queued, then taken by the writer, then settled on trio's thread."""

    __slots__ = ("closure", "settle")

    def __init__(self, closure: Closure, settle: Callable[[Outcome], None]) -> None:
        self.closure = closure
        self.settle = settle  # called once, on trio's thread, in the order of commit


class Writer:
    """The thread's life: `start`, any number of `submit`, `close`, then `ended` is set.

    All methods are for trio's thread. Closing lets everything that was submitted finish.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        self._path = path
        self._migrations = migrations
        self._token = trio.lowlevel.current_trio_token()
        self._changed = threading.Condition(threading.Lock())  # guards the two fields below
        self._jobs: deque[Job] = deque()
        self._is_closing = False
        self._opened = trio.Event()
        self.ended = trio.Event()  # the thread has closed the database
        self._error: BaseException | None = None
        self._committed = 0

    async def start(self) -> None:
        """Open the database in the thread; return once closures can be submitted.

        Raises what opening raised. If cancelled, the thread is left to open, then close.
        """
        threading.Thread(target=self._work, name="store-writer", daemon=True).start()
        try:
            await self._opened.wait()
        except trio.Cancelled:
            self.close()
            raise
        self.raise_error()

    def submit(self, job: Job) -> None:
        """Queue `job`."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> bool:
        """Take `job` back; False when the writer has it already and will settle it."""
        with self._changed:
            try:
                self._jobs.remove(job)
            except ValueError:
                return False
            return True

    def close(self) -> None:
        """Let the thread end once the queue is empty."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def raise_error(self) -> None:
        """Raise what ended the thread, if that was not `close`."""
        if self._error is not None:
            raise self._error

    def take_unsettled(self) -> list[Job]:
        """Empty the queue: for jobs that no writer will ever run."""
        with self._changed:
            unsettled = list(self._jobs)
            self._jobs.clear()
            return unsettled

    # -- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        room = Room(self._path)
        try:
            room.open()
            connection = open_writer(self._path, self._migrations)
            try:
                self._report(self._opened.set)
                room.take(connection)
                while batch := self._next_batch():
                    self._commit(connection, batch)
                    self._committed += 1
                    if self._committed % ROOM_EVERY == 1:  # the first has made the log, perhaps
                        room.take(connection)
            finally:
                connection.close()
                room.close()
        except BaseException as error:  # raised again by raise_error()
            self._error = error
        self._report(self._opened.set)
        self._report(self.ended.set)

    def _next_batch(self) -> list[Job]:
        """Wait for jobs; an empty list is the end."""
        with self._changed:
            while not self._jobs and not self._is_closing:
                self._changed.wait()
            if len(self._jobs) <= BATCH_LIMIT:
                batch = list(self._jobs)
                self._jobs.clear()
                return batch
            return [self._jobs.popleft() for _ in range(BATCH_LIMIT)]

    def _commit(self, connection: WriteConnection, batch: list[Job]) -> None:
        try:
            outcomes = commit_together(connection, [job.closure for job in batch])
        except BaseException as error:
            # Our bug: the callers must still hear. What was committed of the batch is unknown.
            failure = RuntimeError("the store's writer failed")
            failure.__cause__ = error
            self._report(partial(_settle, batch, [outcome.Error(failure)] * len(batch)))
            raise
        self._report(partial(_settle, batch, outcomes))

    def _report(self, call: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # then nobody is left to tell
            self._token.run_sync_soon(call)


def _settle(batch: list[Job], outcomes: Sequence[Outcome]) -> None:
    for job, result in zip(batch, outcomes, strict=True):
        job.settle(result)
