"""The event bus: what happened, stored together with the change it tells of, then told."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Protocol, TypeVar

import outcome
import trio
from loguru import logger

from services.errors import EngineError, Unavailable

from . import history
from .filters import EVERYTHING, EventFilters
from .model import Event
from .subscription import Subscription

T = TypeVar("T")
R = TypeVar("R")

HISTORY_LIMIT: Final = 100_000  # the newest events, kept on disk
TRIM_BATCH: Final = 1_000  # the history outgrows its limit by this much before it is trimmed
RECENT_LIMIT: Final = 2_048  # the newest events, kept in memory for readers that keep up
GATE_S: Final = 5.0  # how long a new subscriber waits for a bus that has not started yet
SOON_S: Final = 0.025  # while who caused an event goes on, the disk is not asked
SOON_LIMIT: Final = 256  # events that wait for that
END_S: Final = 5.0  # what is still to be stored at the end
TRIM_PAUSE_S: Final = 10.0  # after a trim that failed, on a full disk for instance


log = logger.bind(service="events")


class EventStore(Protocol):
    """What the bus needs of the store."""

    async def write(
        self,
        closure: Callable[[sqlite3.Connection], R],
        *,
        then: Callable[[R], None] | None = None,
    ) -> R:
        """Durable when it returns; `then` is called in the order of commits."""
        ...

    def write_later(
        self,
        closure: Callable[[sqlite3.Connection], R],
        *,
        settled: Callable[[outcome.Maybe[R]], None],
    ) -> bool:
        """The same without waiting; False when it is not taken."""
        ...

    async def read(self, closure: Callable[[sqlite3.Connection], R]) -> R:
        """Run on a snapshot of what is durable."""
        ...


class EventBus:
    """Numbers, keeps and hands out events. `history.MIGRATION` must be among the store's.

    There is no buffer per subscriber: each has a place in the one numbered sequence, and reads on
    from memory while it keeps up and from disk when it does not. A publisher never waits for one.

    The object outlives restarts of `run`, which only keeps the history within its limit: events
    are committed and delivered meanwhile.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        history_limit: int = HISTORY_LIMIT,
        recent_limit: int = RECENT_LIMIT,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._history_limit = history_limit
        self._now_ns = now_ns
        self._recent: deque[Event] = deque(maxlen=recent_limit)  # without holes, up to _tail
        self._tail = 0  # the last number told
        self._oldest = 1  # the first number that may still be on disk
        self._readers = trio.lowlevel.ParkingLot()
        self._started = trio.Event()
        self._trim_wanted = trio.Event()
        self._soon: list[Event] = []  # to be stored with the next commit, or after SOON_S
        self._soon_wanted = trio.Event()
        self._unsettled = 0  # of those, how many writes are under way
        self._subscribers = 0
        self._published = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up the numbering, then keep the history within its limit until cancelled."""
        self._take_up(await self._store.read(history.bounds))
        self._started.set()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_trimmed)
                task_status.started()
                while True:
                    await self._soon_wanted.wait()
                    await trio.sleep(SOON_S)
                    self._soon_wanted = trio.Event()
                    await self._store_soon()
        finally:
            with trio.move_on_after(END_S, shield=True), suppress(EngineError):
                await self._settle()

    async def _settle(self) -> None:
        """Have stored and told whatever was caused until now."""
        if self._soon or self._unsettled:
            await self.commit()

    async def _store_soon(self) -> None:
        """Have what waits stored before anything that is committed from now on."""
        if not self._soon:
            return
        apply: Callable[[sqlite3.Connection], tuple[None, list[Event]]]
        apply = partial(_store, tuple(self._soon), None)
        self._soon.clear()
        self._unsettled += 1
        if not self._store.write_later(apply, settled=self._settle_soon):
            try:
                with trio.CancelScope(shield=True):  # they are others', who do not wait
                    await self._store.write(apply, then=self._tell)
            except EngineError as error:
                log.error("events lost", error=str(error))
            finally:
                self._unsettled -= 1

    def _settle_soon(self, result: outcome.Maybe[tuple[None, list[Event]]]) -> None:
        self._unsettled -= 1
        if isinstance(result, outcome.Error):
            log.error("events lost", error=str(result.error))
        else:
            self._tell(result.value)

    async def _keep_trimmed(self) -> None:
        while True:
            await self._trim_wanted.wait()
            self._trim_wanted = trio.Event()
            try:
                await self._trim()
            except EngineError as error:
                log.warning("history not trimmed", error=str(error))
                await trio.sleep(TRIM_PAUSE_S)
                self._trim_wanted.set()

    async def commit(
        self, *events: Event, change: Callable[[sqlite3.Connection], T] | None = None
    ) -> T | None:
        """Store `events`, and what `change` writes, in one transaction; return what it returned.

        Subscribers get the events, in the order of their numbers over all callers, before this
        returns. If it raises, neither change nor events have happened. Cancelled on the way, both
        have happened or neither. See `Store.write` for what `change` may do and what is raised.
        """

        await self._store_soon()
        result, _ = await self._store.write(partial(_store, events, change), then=self._tell)
        return result

    async def commit_soon(self, *events: Event) -> None:
        """As `commit`, within SOON_S, for events of what is not kept itself; at once if heard.

        Their order among all events is that of the calls. Waits only when the store is behind.
        """
        self._soon += events
        if len(self._soon) > SOON_LIMIT:
            await self.commit()
        elif self._subscribers:
            await self._store_soon()
        else:
            self._soon_wanted.set()

    @asynccontextmanager
    async def subscribe(
        self,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        filters: EventFilters = EVERYTHING,
    ) -> AsyncIterator[Subscription]:
        """A channel of events, for one reading task: first what was kept, then what comes.

        Without times, what is committed from now on. With `since_ns` or `until_ns`, first the kept
        events from `since_ns` to `until_ns`, both inclusive. The channel ends when `until_ns` has
        passed. Nothing is left out and nothing comes twice between history and present. A reader
        that falls behind further than the history reaches gets a Gap in place of what it missed.

        Raises:
            Unavailable: the bus did not start within 5 s.
        """
        with trio.move_on_after(GATE_S) as scope:
            await self._started.wait()
        if scope.cancelled_caught:
            raise Unavailable("the event history is being opened")
        await self._settle()  # what was caused before is there to be read
        self._subscribers += 1
        try:
            with Subscription(
                self, since_ns=since_ns, until_ns=until_ns, filters=filters, now_ns=self._now_ns
            ) as channel:
                yield channel
        finally:
            self._subscribers -= 1

    @property
    def waiting(self) -> int:
        """Events that are to be stored soon and are not yet."""
        return len(self._soon)

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return self._subscribers

    @property
    def published(self) -> int:
        """How many events were committed since the daemon started."""
        return self._published

    # -- for subscriptions ----------------------------------------------------------------------

    @property
    def tail(self) -> int:
        """The number of the last event told; 0 when there has been none."""
        return self._tail

    async def read_after(self, seq: int, limit: int) -> list[Event]:
        """Up to `limit` events numbered above `seq`, in order, from memory if it has them.

        Only what has been told: the disk may be ahead of `tail` by the commits under way.
        """
        behind = self._tail - seq
        if behind > len(self._recent):
            return await self._read_kept(seq, limit)
        await trio.lowlevel.checkpoint()
        behind = self._tail - seq
        start = len(self._recent) - behind
        if start < 0:  # overtaken while we waited our turn
            return await self._read_kept(seq, limit)
        return [self._recent[start + i] for i in range(min(limit, behind))]

    async def wait_told(self) -> None:
        """Wait until anything more is told."""
        await self._readers.park()

    # -- inside ---------------------------------------------------------------------------------

    async def _read_kept(self, seq: int, limit: int) -> list[Event]:
        page = await self._store.read(partial(history.page, after_seq=seq, limit=limit))
        return [event for event in page if event.seq <= self._tail]

    def _tell(self, committed: tuple[object, list[Event]]) -> None:
        """Make the events of one commit visible. The store calls this in the order of commits."""
        _, events = committed
        if not events:
            return
        if events[0].seq != self._tail + 1:
            # The first commit of all, before `run`; or the database was set aside and begun anew.
            self._recent.clear()
            self._oldest = min(self._oldest, events[0].seq)
        self._recent.extend(events)
        self._tail = events[-1].seq
        self._published += len(events)
        self._readers.unpark_all()
        self._want_trim()

    def _take_up(self, found: history.Bounds) -> None:
        self._oldest = found.oldest
        if found.newest > self._tail:
            self._recent.clear()
            self._tail = found.newest
        self._want_trim()

    def _want_trim(self) -> None:
        if self._tail - self._oldest + 1 >= self._history_limit + TRIM_BATCH:
            self._trim_wanted.set()

    async def _trim(self) -> None:
        while (below := self._tail - self._history_limit + 1) > self._oldest:
            dropped = partial(history.trim, below_seq=below, limit=TRIM_BATCH)
            self._oldest = (await self._store.write(dropped)).oldest


def _store(
    events: tuple[Event, ...],
    change: Callable[[sqlite3.Connection], T] | None,
    connection: sqlite3.Connection,
) -> tuple[T | None, list[Event]]:
    result = change(connection) if change is not None else None
    return result, history.append(connection, events)
