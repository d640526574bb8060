"""How far a pull or a push is, as lines that change: for any number of watchers, each at its pace.

Nothing is queued for a watcher. It is woken and takes the newest state of each line that it has not
seen; what came and went meanwhile it misses. So a client that reads slowly delays nobody and costs
no memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

NOTICE_EVERY_S: Final = 0.1  # of a count that grows; a change of what is done is told at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line on a client's screen. With `id`, it replaces the one of the same id there."""

    status: str = ""
    id: str = ""
    is_progress: bool = False  # of work: has counts, be they empty
    current: int = 0
    total: int = 0
    aux: Mapping[str, Any] | None = None


class Board:
    """The lines of one operation. Changed by those who work, watched by those who wait."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[int, Line]] = {}  # newest last change, last
        self._changes = 0
        self._told_at: dict[str, float] = {}
        self._lot = trio.lowlevel.ParkingLot()
        self._is_closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been said yet."""
        return not self._lines

    def message(self, status: str, id: str = "") -> None:
        """Say something once."""
        self._put(f"message {self._changes}", Line(status=status, id=id), notify=True)

    def aux(self, value: Mapping[str, Any]) -> None:
        """Hand a value to the client's program."""
        self._put(f"message {self._changes}", Line(is_progress=True, aux=value), notify=True)

    def action(self, id: str, status: str) -> None:
        """The line of `id` is at another step."""
        self._put(id, Line(id=id, status=status, is_progress=True), notify=True)

    def count(self, id: str, status: str, current: int, total: int) -> None:
        """The line of `id` has come so far."""
        now = trio.current_time()
        is_due = now - self._told_at.get(id, -1.0) >= NOTICE_EVERY_S
        if is_due:
            self._told_at[id] = now
        line = Line(id=id, status=status, is_progress=True, current=current, total=total)
        self._put(id, line, notify=is_due)

    def close(self) -> None:
        """Nothing more will be said; watchers end when they have seen everything."""
        self._is_closed = True
        self._lot.unpark_all()

    async def wait_first(self) -> None:
        """Block until something was said, or nothing ever will be."""
        while not self._lines and not self._is_closed:
            await self._lot.park()

    async def watch(self) -> AsyncIterator[list[Line]]:
        """What is new, again and again, until the end."""
        seen = 0
        while True:
            if self._changes > seen:
                fresh = [line for number, line in self._lines.values() if number > seen]
                seen = self._changes
                yield fresh
            elif self._is_closed:
                return
            else:
                await self._lot.park()

    def _put(self, key: str, line: Line, *, notify: bool) -> None:
        self._changes += 1
        self._lines.pop(key, None)
        self._lines[key] = (self._changes, line)
        if notify:
            self._lot.unpark_all()
