"""Pulls and pushes as supervised tasks: owned by the engine, shared by the clients that want them.

A job ends when it is done, when the daemon ends, or when the last client that waits for it leaves.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from services.errors import EngineError, Unavailable
from services.measures import Counts, Durations
from supervisor.otp import ChildSpec, DynamicSupervisor, NotRunning, Restart

from .progress import Board

INTERNAL_ERROR: Final = "internal error: the daemon's log has the details"

Work = Callable[[Board], Awaitable[None]]


class Job:
    """One operation under way. `board` is what it tells; `error` stands once the board is closed
    and it failed."""

    def __init__(self, work: Work, on_end: Callable[[], None]) -> None:
        """`on_end` is called when it has ended, and before `board` says so."""
        self.board = Board()
        self.error: EngineError | None = None
        self.waiters = 0
        self._work, self._on_end = work, on_end
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """The child's task. What nobody planned for ends it, and is the supervisor's to report."""
        self.error = Unavailable("the daemon is shutting down")  # unless we come to say else
        try:
            with self._scope:
                await self._work(self.board)
                self.error = None
        except EngineError as error:
            self.error = error
        except Exception:
            self.error = EngineError(INTERNAL_ERROR)
            raise
        finally:
            self._on_end()
            self.board.close()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._scope.cancel()


class Jobs:
    """The operations under way, by what they do. `run` is a supervised child.

    Attributes:
        durations: of those that succeeded, by action.
        results: how many ended how, by action and "ok", "failed" or "cancelled".
        under_way: how many there are now, by action.
    """

    def __init__(self) -> None:
        self.durations: Final = Durations()
        self.results: Final = Counts()
        self.under_way: Counter[str] = Counter()
        self._supervisor = DynamicSupervisor(name="registry")
        self._shared: dict[Hashable, Job] = {}
        self._numbers = itertools.count(1)

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the jobs until asked to end."""
        await self._supervisor.run(task_status=task_status)

    @asynccontextmanager
    async def join(self, action: str, name: str, key: Hashable, work: Work) -> AsyncIterator[Job]:
        """The job under `key`, begun if there is none. Leaving the block gives it up.

        `action` is what it is counted as, `name` what it is called in the tree.

        Raises:
            Unavailable: the part of the engine that does this restarts just now, or ends.
        """
        job = self._shared.get(key) or await self._start(action, name, key, work)
        job.waiters += 1
        try:
            yield job
        finally:
            job.waiters -= 1
            if not job.waiters:
                if self._shared.get(key) is job:
                    del self._shared[key]
                job.cancel()

    async def _start(self, action: str, name: str, key: Hashable, work: Work) -> Job:
        def forget() -> None:
            if self._shared.get(key) is job:
                del self._shared[key]

        async def measured(board: Board) -> None:
            with self._measured(action):
                await work(board)

        job = self._shared[key] = Job(measured, forget)
        spec = ChildSpec(
            id=f"{name} #{next(self._numbers)}",
            start=job.run,
            restart=Restart.TEMPORARY,
            shutdown_s=0.0,  # it has nothing to drain: what has come is kept for the next daemon
        )
        job.waiters += 1  # or somebody who joins meanwhile and leaves would take it away
        try:
            await self._supervisor.start_child(spec)
        except NotRunning as error:
            forget()
            raise Unavailable("the engine's registry client is not running") from error
        except BaseException:
            forget()
            job.cancel()
            raise
        finally:
            job.waiters -= 1
        return job

    @contextmanager
    def _measured(self, action: str) -> Iterator[None]:
        """Count one job and time it."""
        self.under_way[action] += 1
        result = "failed"
        try:
            with self.durations.timed(action):
                yield
            result = "ok"
        except trio.Cancelled:
            result = "cancelled"
            raise
        finally:
            self.under_way[action] -= 1
            self.results.add(action, result)
