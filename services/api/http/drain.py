"""Ending a server gently: which connections may close now, and which answers end by themselves.

One `Drain` belongs to one run of one server. It is begun once and never undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Drain:
    """Told once that the server is to end; tells everyone who asked to know."""

    def __init__(self) -> None:
        self._begun = trio.Event()
        self._endless: set[trio.CancelScope] = set()

    @property
    def is_begun(self) -> bool:
        """Whether new answers must end their connection."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Wake all who wait, and end the endless answers."""
        self._begun.set()
        for scope in tuple(self._endless):
            scope.cancel()

    async def wait(self) -> None:
        """Block until the drain begins."""
        await self._begun.wait()

    @contextmanager
    def ends(self) -> Iterator[trio.CancelScope]:
        """A scope that the drain cancels: to wait in for an endless answer's next part."""
        with trio.CancelScope() as scope:
            if self.is_begun:
                scope.cancel()
            self._endless.add(scope)
            try:
                yield scope
            finally:
                self._endless.discard(scope)
