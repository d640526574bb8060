"""How a child learns that it is to end, when it wants to end by itself."""

from __future__ import annotations

from collections.abc import Callable

import trio


class StopRequest:
    """Set when the child that asked for it is to stop; `shutdown_s` later it is cancelled."""

    __slots__ = ("_event", "_is_set", "_listeners")

    def __init__(self) -> None:
        self._is_set = False
        self._event: trio.Event | None = None
        self._listeners: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether the child has been asked to stop."""
        return self._is_set

    async def wait(self) -> None:
        """Block until the child is asked to stop."""
        if self._event is None:
            self._event = trio.Event()
            if self._is_set:
                self._event.set()
        await self._event.wait()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the child is asked to stop, or now if it has been."""
        self._listeners.append(listener)
        if self._is_set:
            listener()

    def _set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()
        for listener in self._listeners:
            listener()
