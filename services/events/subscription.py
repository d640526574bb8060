"""One reader's place in the sequence of events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

import trio

from .filters import EventFilters
from .model import Event, Gap

PAGE: Final = 256  # events taken at a time; all that is ever held for a reader


class Sequence(Protocol):
    """The numbered events, as the bus offers them."""

    @property
    def tail(self) -> int:
        """The number of the last event."""
        ...

    async def read_after(self, seq: int, limit: int) -> list[Event]:
        """The events that follow number `seq`; the first of them later on if some are gone."""
        ...

    async def wait_told(self) -> None:
        """Wait for more."""
        ...


class Subscription(trio.abc.ReceiveChannel[Event | Gap]):
    """The channel that `EventBus.subscribe` gives; for one reading task at a time."""

    def __init__(
        self,
        events: Sequence,
        *,
        since_ns: int | None,
        until_ns: int | None,
        filters: EventFilters,
        now_ns: Callable[[], int],
    ) -> None:
        self._events = events
        self._filters = filters
        self._since_ns = since_ns
        self._until_ns = until_ns
        self._present = events.tail  # events up to here are history, in which `since_ns` counts
        wants_history = since_ns is not None or until_ns is not None
        self._place = 0 if wants_history else self._present  # the last number dealt with
        self._may_skip = wants_history  # what was trimmed before we came is not a gap
        self._end = math.inf  # the last number to deal with, once known
        self._deadline = math.inf  # when that is decided, on trio's clock
        self._ready: deque[Event | Gap] = deque()
        self._is_closed = False
        if until_ns is not None:
            left_s = (until_ns - now_ns()) / 1e9
            self._deadline = trio.current_time() + left_s
            if left_s < 0:
                self._end = self._present

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True

    async def aclose(self) -> None:
        """End it; further reads raise ClosedResourceError."""
        self._is_closed = True
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Event | Gap:
        """The next event, or a Gap.

        Raises:
            trio.EndOfChannel: `until_ns` has passed.
        """
        while not self._ready:
            await self._fill()
        return self._ready.popleft()

    async def receive_some(self) -> list[Event | Gap]:
        """At least one, and all that are at hand (256 at most), to be sent on in one piece.

        Raises:
            trio.EndOfChannel: `until_ns` has passed.
        """
        while not self._ready:
            await self._fill()
        some = list(self._ready)
        self._ready.clear()
        return some

    async def _fill(self) -> None:
        """Advance: by a page, by waiting for one, or to the end."""
        if self._is_closed:
            raise trio.ClosedResourceError
        if self._place > self._events.tail:  # the history was begun anew: all of it is news
            self._place = self._present = 0
        if self._place >= self._end:
            raise trio.EndOfChannel
        if self._place < self._events.tail:
            told = self._events.tail
            self._take(await self._events.read_after(self._place, PAGE), told)
            return
        with trio.move_on_at(self._deadline) as scope:
            await self._events.wait_told()
        if scope.cancelled_caught:
            self._end = self._events.tail

    def _take(self, page: list[Event], told: int) -> None:
        # An empty page: the database was set aside, and what was told up to now went with it.
        following = page[0].seq if page else told + 1
        missed = following - self._place - 1
        if missed and not self._may_skip:
            self._ready.append(Gap(missed=missed))
        self._may_skip = False
        self._ready.extend(event for event in page if self._wants(event))
        self._place = page[-1].seq if page else told

    def _wants(self, event: Event) -> bool:
        if event.seq > self._end or (self._until_ns is not None and event.time_ns > self._until_ns):
            return False
        is_history = event.seq <= self._present
        if is_history and self._since_ns is not None and event.time_ns < self._since_ns:
            return False
        return self._filters.matches(event)
