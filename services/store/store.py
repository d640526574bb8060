"""The store: durable writes and consistent reads of one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

import outcome
import trio
from loguru import logger

from services.errors import EngineError, Unavailable

from ._fairness import ThreadFairness
from ._readers import Readers
from ._transaction import Outcome
from ._writer import Job, Writer
from .migrations import Migration, check_migrations

T = TypeVar("T")

GATE_S: Final = 5.0  # how long a call waits for a store that is being (re)opened
CLOSE_S: Final = 10.0  # how long a stop waits for what was queued
QUEUE_LIMIT: Final = 1024  # writes queued or under way; further callers wait their turn, in order
READERS: Final = 4

# What a disk can do to a write, as opposed to what a closure can do wrong.
_DISK_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
    }
)


class Store:
    """One SQLite file (WAL, synchronous=FULL), mode 0600, made and migrated by `run`.

    The object outlives restarts of `run`: calls meanwhile wait up to 5 s, then raise Unavailable.
    A database that is damaged is set aside under another name, reported, and begun anew.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration] = (),
        *,
        queue_limit: int = QUEUE_LIMIT,
        readers: int = READERS,
    ) -> None:
        check_migrations(migrations)
        self._path = path
        self._migrations = tuple(migrations)
        self._queue_limit = queue_limit
        self._places = trio.Semaphore(queue_limit)
        self._reader_limit = readers
        self._open: _Open | None = None  # None while `run` is not ready
        self._opened = trio.Event()  # replaced when the store closes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open, migrate, and serve until cancelled. Ready once reads and writes are served.

        When asked to stop, what is already queued is still written (10 s at most).

        Raises:
            EngineError: a newer version of the engine wrote the file.
            OSError, sqlite3.Error: the file cannot be opened.
        """
        writer = Writer(self._path, self._migrations)
        await writer.start()
        readers = Readers(self._path, limit=self._reader_limit)
        fairness = ThreadFairness()
        trio.lowlevel.add_instrument(fairness)
        try:
            self._open = _Open(writer, readers)
            self._opened.set()
            task_status.started()
            await writer.ended.wait()
        finally:
            self._open, self._opened = None, trio.Event()
            writer.close()
            with trio.move_on_after(CLOSE_S, shield=True) as scope:
                await writer.ended.wait()
            if scope.cancelled_caught:
                logger.bind(service="store").error("writer did not end in time", after_s=CLOSE_S)
            for job in writer.take_unsettled():
                job.settle(outcome.Error(Unavailable("the engine's state is being reopened")))
            readers.close()
            trio.lowlevel.remove_instrument(fairness)
        writer.raise_error()

    @property
    def is_ready(self) -> bool:
        """Whether calls are served at once."""
        return self._open is not None

    @property
    def waiting_writes(self) -> int:
        """Writes that are queued, under way, or wait for a place in the queue."""
        return self._queue_limit - self._places.value + self._places.statistics().tasks_waiting

    async def write(
        self,
        closure: Callable[[sqlite3.Connection], T],
        *,
        then: Callable[[T], None] | None = None,
    ) -> T:
        """Run `closure` on the writing connection; return what it returned once that is on disk.

        It runs in the writer's thread, in a transaction that it may share with others; if it
        raises, nothing of it remains and the error is raised here. It may be run twice, so it
        must have no effect but on the connection, and it must not commit or roll back.

        `then` is called with the result on trio's thread before this returns, and before the
        `then` of any later commit, even when the caller was cancelled meanwhile. It must be quick.

        Cancelled while queued, the write never happens; cancelled while under way, it completes
        and this returns (the cancellation is met at the next checkpoint).

        Raises:
            EngineError: the disk is full or failing; nothing was stored.
            Unavailable: the store was not open for 5 s, or closed before the write was begun.
        """
        opened = self._open or await self._wait_open()
        try:
            self._places.acquire_nowait()  # the usual case, without a trip through the scheduler
        except trio.WouldBlock:
            await self._places.acquire()
            opened = self._open or await self._wait_place_open()
        task = trio.lowlevel.current_task()
        settle = partial(self._settle, task, then)
        job = Job(closure, settle)
        opened.writer.submit(job)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            if not opened.writer.withdraw(job):
                return trio.lowlevel.Abort.FAILED
            self._places.release()
            return trio.lowlevel.Abort.SUCCEEDED

        return cast("T", await trio.lowlevel.wait_task_rescheduled(abort))

    def write_later(
        self,
        closure: Callable[[sqlite3.Connection], T],
        *,
        settled: Callable[[outcome.Maybe[T]], None],
    ) -> bool:
        """As `write` for what nobody waits for; False when there is no place for it just now.

        It is in the same order as other writes; `settled` hears how it ended, as `then` would.
        """
        if self._open is None:
            return False
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return False

        def settle(result: Outcome) -> None:
            self._places.release()
            settled(cast("outcome.Maybe[T]", self._finished(None, result)))

        self._open.writer.submit(Job(closure, settle))
        return True

    async def read(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """What `closure` returns, run in a thread on one snapshot that holds all finished writes.

        The connection refuses writes. At most 4 reads run at once; others wait. A read that has
        begun is not interrupted by cancellation: keep it short.
        """
        opened = self._open or await self._wait_open()
        return await opened.readers.read(closure)

    def read_nowait(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """As `read`, but on trio's own thread: only for look-ups by key, measured below 1 ms.

        Raises:
            Unavailable: the store is not open.
        """
        if self._open is None:
            raise Unavailable("the engine's state is being reopened")
        return self._open.readers.read_nowait(closure)

    def _settle(
        self, task: trio.lowlevel.Task, then: Callable[[T], None] | None, result: Outcome
    ) -> None:
        self._places.release()
        trio.lowlevel.reschedule(task, self._finished(then, result))

    def _finished(self, then: Callable[[T], None] | None, result: Outcome) -> Outcome:
        if isinstance(result, outcome.Error):
            return outcome.Error(self._explain(result.error))
        if then is not None:
            return outcome.capture(_call_then, then, cast("T", result.value))
        return result

    def _explain(self, error: BaseException) -> BaseException:
        code: int = getattr(error, "sqlite_errorcode", 0)
        if not isinstance(error, sqlite3.Error) or code & 0xFF not in _DISK_TROUBLE:
            return error
        explained = EngineError(
            f"cannot write the engine's state to {self._path}: {error}; "
            "check that its disk has space left and is writable"
        )
        explained.__cause__ = error
        return explained

    async def _wait_open(self) -> _Open:
        with trio.move_on_after(GATE_S):
            while self._open is None:
                await self._opened.wait()
            return self._open
        raise Unavailable("the engine's state is being reopened")

    async def _wait_place_open(self) -> _Open:
        try:
            return await self._wait_open()
        except BaseException:
            self._places.release()
            raise


class _Open:
    """What one run of the store holds."""

    __slots__ = ("readers", "writer")

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self.writer = writer
        self.readers = readers


def _call_then(then: Callable[[T], None], value: T) -> T:
    then(value)
    return value
