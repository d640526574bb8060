"""One lock for each key that somebody works on; it goes with the last who wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class KeyedLocks:
    """Locks by name. Whoever waits gets its turn in order."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[trio.Lock, int]] = {}  # how many hold it or wait for it

    def __contains__(self, key: str) -> bool:
        """Whether somebody holds `key` or waits for it."""
        return key in self._locks

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Be the only one with `key` within the block."""
        lock, wanted = self._locks.get(key, (trio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            _, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, wanted - 1)
