"""What volumes need of other parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from services.events import Event

T = TypeVar("T")


class EventSink(Protocol):
    """The event bus."""

    async def commit(
        self, *events: Event, change: Callable[[sqlite3.Connection], Any] | None = None
    ) -> Any:
        """Run `change` and store `events` in one transaction; publish them once it is durable."""


class Reader(Protocol):
    """The store."""

    async def read(self, closure: Callable[[sqlite3.Connection], T]) -> T:
        """Run `closure` on a snapshot of what is durable."""
        ...
