"""Compresses rotated log files beside the threads that write: one at a time, for all containers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio


class Packable(Protocol):
    """A log with files that may be compressed."""

    def pack_one(self, checkpoint: Callable[[], object]) -> bool:
        """Compress one; False: there is none. Blocks long; `checkpoint` may end it by raising."""


class Packer:
    """Takes logs from any thread, each once at most, and compresses their files in one thread.

    What is not compressed when it is stopped or killed is readable, and is taken up when the
    container's next run begins.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Packable] = deque()
        self._token: trio.lowlevel.TrioToken | None = None
        self._some = trio.Event()

    def add(self, log: Packable) -> None:
        """There is something to compress. Never blocks; called from any thread."""
        with self._lock:
            if log not in self._waiting:
                self._waiting.append(log)
        token = self._token
        if token is not None:
            token.run_sync_soon(self._wake, idempotent=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; may be run again."""
        self._token = trio.lowlevel.current_trio_token()
        limiter = trio.CapacityLimiter(1)
        task_status.started()
        try:
            while True:
                self._some = trio.Event()
                while (log := self._next()) is not None:
                    more = await trio.to_thread.run_sync(
                        log.pack_one, trio.from_thread.check_cancelled, limiter=limiter
                    )
                    if more:  # the others' turn first
                        self.add(log)
                await self._some.wait()
        finally:
            self._token = None

    def _next(self) -> Packable | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _wake(self) -> None:
        self._some.set()
