"""How much of one kind of work presses on the machine at once.

Three hundred starts at once are three hundred times two programs that want the processor: none of
them gets on, calls run into their limits, and the engine itself is not heard. In turns they are
done sooner. But a start that hangs must not hold up the others: who takes long loses its slot, and
goes on without.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from services.errors import single_error

SLOW_S: Final = 5.0
AT_LEAST: Final = 4


def slots_for_processors() -> int:
    """Enough to keep every processor busy while some wait for the disk."""
    return max(AT_LEAST, 2 * (os.cpu_count() or 1))


class Slots:
    """Given out in the order of asking. Each counts for `slow_s` at most."""

    def __init__(self, count: int, *, slow_s: float = SLOW_S) -> None:
        self._limiter = trio.CapacityLimiter(count)
        self._slow_s = slow_s

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, have it within the block."""
        holder = object()
        await self._limiter.acquire_on_behalf_of(holder)
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._release_slow, holder)
                    yield
                    nursery.cancel_scope.cancel()
        finally:
            self._release(holder)

    async def _release_slow(self, holder: object) -> None:
        await trio.sleep(self._slow_s)
        self._release(holder)

    def _release(self, holder: object) -> None:
        with suppress(RuntimeError):  # it lost its slot before
            self._limiter.release_on_behalf_of(holder)
