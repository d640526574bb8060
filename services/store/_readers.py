"""Reading connections, lent to one closure at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from ._database import open_reader

T = TypeVar("T")


class Readers:
    """Up to `limit` closures read at once, each in a thread, on a connection that is kept."""

    def __init__(self, path: Path, *, limit: int) -> None:
        self._path = path
        self._limiter = trio.CapacityLimiter(limit)
        self._idle: list[sqlite3.Connection] = []
        self._here: sqlite3.Connection | None = None
        self._is_closed = False

    async def read(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """What `closure` returns, run in a thread on one snapshot. Ends before it is cancelled."""
        return await trio.to_thread.run_sync(self._read_in_thread, closure, limiter=self._limiter)

    def read_nowait(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """What `closure` returns, run here and now on one snapshot."""
        if self._here is None:
            self._here = open_reader(self._path)
        return _in_snapshot(self._here, closure)

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
        if self._here is not None:
            self._here.close()
            self._here = None

    def _read_in_thread(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._idle.pop()  # list.pop and append are atomic
        except IndexError:
            connection = open_reader(self._path)
        try:
            return _in_snapshot(connection, closure)
        finally:
            if self._is_closed:
                connection.close()
            else:
                self._idle.append(connection)


def _in_snapshot(connection: sqlite3.Connection, closure: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        return closure(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
