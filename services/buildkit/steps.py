"""One step of a build on the status board: begun, told of, ended once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from protos.generated.moby.buildkit.v1 import Vertex, VertexStatus
from protos.generated.wire import Timestamp

from .board import StatusBoard, now

ADVANCE_EVERY_S: Final = 0.1
CANCELED: Final = "context canceled"


class Step:
    """A vertex, in BuildKit's words."""

    def __init__(self, board: StatusBoard, key: str, name: str) -> None:
        """`key` tells the steps of one board apart."""
        self._board = board
        self.digest: Final = f"sha256:{hashlib.sha256(f'{board.ref} {key}'.encode()).hexdigest()}"
        self._name = name
        self._started: Timestamp | None = None
        self._is_cached = False
        self._is_ended = False

    @property
    def is_open(self) -> bool:
        """Whether it has begun and not ended."""
        return self._started is not None and not self._is_ended

    def announce(self) -> None:
        """It will begin at some time."""
        self._tell()

    def begin(self) -> None:
        """Now."""
        self._started = now()
        self._tell()

    def cached(self) -> None:
        """Nothing needs to be done for it."""
        self._is_cached = True

    def end(self, error: str = "") -> None:
        """It is done, or has failed. Once."""
        if not self.is_open:
            return
        self._is_ended = True
        self._tell(completed=now(), error=error)

    def log(self, text: str, *, is_stderr: bool = False) -> None:
        """It prints something."""
        data = text.encode("utf-8", "replace")
        self._board.log(self.digest, data, is_stderr=is_stderr)

    def task(self, name: str, *, total: int = 0) -> Task:
        """A part of it, begun."""
        return Task(self._board, self.digest, name, total)

    def warn(self, text: str) -> None:
        """A remark."""
        self._board.warn(self.digest, text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Begin; end with the block, however that ends."""
        self.begin()
        try:
            yield
        except trio.Cancelled:
            self.end(CANCELED)
            raise
        except BaseException as error:
            self.end(str(error) or type(error).__name__)
            raise
        self.end()

    def _tell(self, completed: Timestamp | None = None, error: str = "") -> None:
        self._board.vertex(
            Vertex(
                digest=self.digest,
                name=self._name,
                cached=self._is_cached,
                started=self._started,
                completed=completed,
                error=error,
            )
        )


class Task:
    """A part of a step, with a count."""

    def __init__(self, board: StatusBoard, vertex: str, name: str, total: int) -> None:
        self._board, self._vertex, self._name = board, vertex, name
        self._started = now()
        self._current, self._total = 0, total
        self._told_at = trio.current_time()
        self._tell(None)

    def advance(self, current: int, total: int = 0) -> None:
        """It has come so far; told now and then."""
        self._current, self._total = current, total or self._total
        if trio.current_time() >= self._told_at + ADVANCE_EVERY_S:
            self._told_at = trio.current_time()
            self._tell(None)

    def end(self) -> None:
        """All of it."""
        self._tell(now())

    def _tell(self, completed: Timestamp | None) -> None:
        self._board.status(
            VertexStatus(
                id=self._name,
                vertex=self._vertex,
                name=self._name,
                current=self._current,
                total=self._total,
                timestamp=now(),
                started=self._started,
                completed=completed,
            )
        )
