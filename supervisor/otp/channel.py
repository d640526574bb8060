"""The two shapes of Go channel that a start-up story is told in: closed once, or sent to once."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import trio

T = TypeVar("T")


class Latch:
    """Set once, for good; whoever waits wakes. Go's channel that is only ever closed."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Set it. Again is no error and no change."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Block until it is set; return at once if it is."""
        await self._event.wait()


class Outcome(Generic[T]):
    """A value or an error, set once by whoever is first. Go's `chan error` with one sender.

    Many may wait, and each gets the same answer; later attempts to set it change nothing.
    """

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def set(self, value: T) -> bool:
        """Set a value; whether this was the first to set anything."""
        return self._settle(value, None)

    def set_error(self, error: BaseException) -> bool:
        """Set an error, which `wait` raises; whether this was the first to set anything."""
        return self._settle(None, error)

    def is_set(self) -> bool:
        """Whether there is an answer."""
        return self._event.is_set()

    async def wait(self) -> T:
        """Block until there is an answer: return the value or raise the error."""
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _settle(self, value: T | None, error: BaseException | None) -> bool:
        if self._event.is_set():
            return False
        self._value, self._error = value, error
        self._event.set()
        return True
