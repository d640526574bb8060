"""A process started ahead of all else: it comes up while Python still imports the engine.

Imports no trio.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

Started = TypeVar("Started")


class ProcessAhead(ABC, Generic[Started]):
    """What nobody watches or speaks to yet: until `take` it is ended with the block.

    None is started where it cannot be: whoever wants one finds that out again, and says so.
    """

    def __init__(self) -> None:
        self._started: Started | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._started = self._start()
        return self

    def take(self) -> Started | None:
        """What was started, now the caller's; None the next time."""
        started, self._started = self._started, None
        return started

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        started = self.take()
        if started is not None:
            self._end(started)

    @abstractmethod
    def _start(self) -> Started | None:
        """Start it; None: none is wanted. Raises OSError: it cannot be started."""

    @abstractmethod
    def _end(self, started: Started) -> None:
        """End what nobody has taken."""


def wait_or_kill(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Block until a process that was asked to end has; past the limit it is killed."""
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
