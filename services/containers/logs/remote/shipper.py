"""Sends one container's lines to its server, and decides what happens while that is away.

At least once: a line counts as sent when its protocol can tell no more about it, and the mark that
says so is on disk after that; a kill in between sends it again. Of what waits at most `limit_bytes`
are kept. In blocking mode the process is held up when that much waits and the server is there;
when it is away, and in non-blocking mode always, the oldest lines go: counted, and told of by a
line where they would be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio
from loguru import logger

from services.containers.logs.counts import LogCounts
from services.containers.logs.feed import Extent, Feed
from services.containers.logs.remote.driver import DeliveryFailed, Driver, Session
from services.containers.logs.remote.dropped import Dropped
from services.containers.logs.remote.lines import Line, Mark
from services.containers.logs.remote.outbox import Outbox
from services.errors import EngineError

log = logger.bind(service="logs")

_T = TypeVar("_T")

LONGEST_RETRY_S: Final = 10.0
READ_RETRY_S: Final = 5.0
_LOOK_S: Final = 0.5  # while the server is away: how often what waits is measured
_LINES_AT_ONCE: Final = 1000  # a millisecond or two of the loop's time to spell
_BYTES_AT_ONCE: Final = 256 * 1024


class Shipper:
    """One log's sender. `run` is one task; `announced` and `wait_room` are called on the loop.

    Attributes:
        is_away: the last attempt to send failed, and none has succeeded since.
    """

    def __init__(
        self,
        *,
        container_id: str,
        outbox: Outbox,
        feed: Feed,
        make_driver: Callable[[], Driver],
        limit_bytes: int,
        blocks: bool,
        counts: LogCounts,
    ) -> None:
        self.is_away = False
        self._container_id = container_id
        self._outbox = outbox
        self._feed = feed
        self._make_driver = make_driver
        self._limit_bytes = limit_bytes
        self._blocks = blocks
        self._counts = counts
        self._batch: deque[Line] = deque()  # read, and not sent
        self._under_way: deque[Line] = deque()  # sent, and not known to have arrived
        self._waiting_bytes = 0
        self._logged_bytes = 0  # as last announced
        self._dropped = Dropped(counts)
        self._changed = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._caught_up = trio.lowlevel.ParkingLot()
        self._is_settled = False  # the files are not going to be cut back any more
        self._is_behind = True
        self._run_extent: Extent | None = None
        self._is_new_run = False
        self._idle = trio.CancelScope()  # while everything is sent, and not all has arrived
        self._session: Session | None = None
        self._session_ends = 0.0
        self._threads = trio.CapacityLimiter(1)

    # ── called from beside ───────────────────────────────────────────────────────────────────

    def announced(self, logged_bytes: int) -> None:
        """So many bytes of output are in the log by now, and may be read."""
        if self._feed.extent is not None and self._run_extent is None:
            self._is_new_run = True
        self._run_extent = self._feed.extent
        self._waiting_bytes += logged_bytes - self._logged_bytes
        self._logged_bytes = logged_bytes
        self._is_settled = self._is_behind = True
        self._changed.set()
        self._idle.cancel()

    def settle(self) -> None:
        """No run is under way: what is in the files is what there is."""
        self._is_settled = True
        self._changed.set()

    async def wait_room(self) -> None:
        """Block while more waits than may, and the server is there to take it."""
        while self._blocks and not self.is_away and self._waiting_bytes > self._limit_bytes:
            await self._room.park()

    async def wait_caught_up(self) -> None:
        """Block until everything that was announced is sent or dropped."""
        while self._is_behind:
            await self._caught_up.park()

    async def leave_behind(self) -> None:
        """The log is about to go, and `run` has ended: count what was not sent."""
        if not self._is_behind:
            return
        lines, size_bytes = await self._in_thread(self._count_rest)
        if lines:
            self._counts.drop(lines=lines, size_bytes=size_bytes)
            log.warning(
                "container output not sent",
                container=self._container_id,
                lines=lines,
                size_bytes=size_bytes,
            )

    def _count_rest(self) -> tuple[int, int]:
        lines = size_bytes = 0
        self._outbox.open()
        try:
            while found := self._outbox.read(self._upto()):
                lines += len(found)
                size_bytes += sum(line.size_bytes for line in found)
        finally:
            self._outbox.close()
        return lines, size_bytes

    # ── the task ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Send until cancelled. May be run again: it goes on behind the mark."""
        while not self._is_settled:
            await self._wait_changed()
        try:
            while True:
                try:
                    await self._open()
                    while True:
                        await self._send_all()
                        await self._wait_changed()
                except OSError as error:  # the log's disk
                    log.warning(
                        "container log not read", container=self._container_id, error=str(error)
                    )
                    await trio.sleep(READ_RETRY_S)
        finally:
            with trio.CancelScope(shield=True):
                await self._end_session()  # closes at once
            self._outbox.close()

    async def _open(self) -> None:
        await self._in_thread(self._outbox.open)
        await self._begin_again()
        self._is_new_run = False
        before = self._logged_bytes
        size = await self._in_thread(partial(self._outbox.size_behind, self._upto()))
        self._waiting_bytes = size + self._logged_bytes - before

    async def _wait_changed(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()

    async def _send_all(self) -> None:
        """Until nothing is left to send."""
        retry_s = 0.0
        while await self._fill() or self._under_way:
            try:
                await self._drop_surplus()
                if self._batch:
                    await self._send_some(await self._connected())
                else:
                    # Until there is more to send, which need not wait for what is under way.
                    with trio.CancelScope() as self._idle:
                        await self._flush()
                retry_s = 0.0
                self._note_back()
            except DeliveryFailed as error:
                await self._begin_again()
                self._note_away(error)
                retry_s = min(LONGEST_RETRY_S, max(2 * retry_s, self._first_retry_s))
                await self._pause(retry_s)

    async def _fill(self) -> bool:
        """Read on, if nothing is at hand; False: all that there is, is done with or under way."""
        if self._is_new_run:
            # What was read of the last run's end may have been cut back since; and the container
            # may have another name by now.
            self._is_new_run = False
            await self._begin_again()
        if self._batch:
            return True
        upto = self._upto()
        self._batch.extend(await self._in_thread(partial(self._outbox.read, upto)))
        self._count_lost_files()
        if self._batch or upto != self._upto():
            return True
        if not self._under_way:
            self._waiting_bytes = 0
            self._is_behind = False
            self._room.unpark_all()
            self._caught_up.unpark_all()
        return False

    async def _begin_again(self) -> None:
        """Behind the mark, on a new session: what is under way may have arrived or not."""
        await self._end_session()
        self._batch.clear()
        self._under_way.clear()
        self._dropped.note_lost()
        await self._in_thread(self._outbox.rewind)

    def _upto(self) -> Extent | None:
        return self._feed.extent or self._feed.last

    async def _drop_surplus(self) -> None:
        """Let the oldest lines go, where that is what is to be done with them."""
        if not self._has_surplus():
            return
        await self._flush()  # or the mark would pass over what is under way
        last: Mark | None = None
        while self._has_surplus():
            if not self._batch:
                await self._commit(last)
                last = None
                if not await self._fill():
                    return
                continue
            line = self._batch.popleft()
            last = line.after or last
            self._waiting_bytes -= line.size_bytes
            self._dropped.drop(lines=1, size_bytes=line.size_bytes)
        await self._commit(last)

    def _has_surplus(self) -> bool:
        return self._waiting_bytes > self._limit_bytes and (self.is_away or not self._blocks)

    async def _commit(self, mark: Mark | None) -> None:
        if mark is not None:
            await self._in_thread(partial(self._outbox.commit, mark))

    def _count_lost_files(self) -> None:
        """The log was written faster than anybody could look: its rotation took lines away."""
        lost, self._outbox.lost_files = self._outbox.lost_files, 0
        if lost:
            self._dropped.drop(lines=1, size_bytes=0)
            log.warning("log files lost before they were sent", container=self._container_id,
                        files=lost)  # fmt: skip

    async def _connected(self) -> Session:
        if self._session is not None and trio.current_time() >= self._session_ends:
            await self._flush()
            await self._end_session()
        if self._session is None:
            driver = self._driver()
            self._session = await driver.connect()
            self._session_ends = trio.current_time() + driver.session_s
        return self._session

    def _driver(self) -> Driver:
        try:
            return self._make_driver()
        except (ValueError, EngineError) as error:  # such as a socket's file that is gone
            raise DeliveryFailed(str(error)) from error

    @property
    def _first_retry_s(self) -> float:
        try:
            return self._driver().retry_s
        except DeliveryFailed:
            return 1.0

    async def _send_some(self, session: Session) -> None:
        """A share of the batch; what has arrived is behind the mark afterwards."""
        lines = self._next_lines()
        for _ in lines:
            self._under_way.append(self._batch.popleft())
        if (note := self._dropped.next_note()) is not None:
            lines.insert(0, note)
            self._under_way.insert(len(self._under_way) - len(lines) + 1, note)
        await self._telling(partial(session.send, lines))

    async def _flush(self) -> None:
        if self._session is not None and self._under_way:
            await self._telling(self._session.flush)

    async def _telling(self, act: Callable[[Callable[[int], None]], Awaitable[None]]) -> None:
        """Do something that tells of lines that arrived, and note them on disk."""
        last: Mark | None = None

        def arrived(count: int) -> None:
            nonlocal last
            for _ in range(count):
                line = self._under_way.popleft()
                if self._dropped.is_note(line):
                    self._dropped.note_arrived()
                else:
                    self._waiting_bytes -= line.size_bytes
                    last = line.after or last

        try:
            await act(arrived)
        finally:
            with trio.CancelScope(shield=True):  # a few bytes to a file
                await self._commit(last)
            if self._waiting_bytes <= self._limit_bytes:
                self._room.unpark_all()

    def _next_lines(self) -> list[Line]:
        lines: list[Line] = []
        size = 0
        for line in self._batch:
            size += len(line.text)
            if lines and (len(lines) == _LINES_AT_ONCE or size > _BYTES_AT_ONCE):
                break
            lines.append(line)
        return lines

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    def _note_away(self, error: DeliveryFailed) -> None:
        if not self.is_away:
            log.warning("log server is away", container=self._container_id, error=str(error))
        self.is_away = True
        self._room.unpark_all()

    def _note_back(self) -> None:
        if self.is_away:
            log.info("log server is back", container=self._container_id)
        self.is_away = False

    async def _pause(self, pause_s: float) -> None:
        """Before the next attempt; what waits meanwhile is kept within its bound."""
        until = trio.current_time() + pause_s
        while (left_s := until - trio.current_time()) > 0:
            await trio.sleep(min(left_s, _LOOK_S))
            with suppress(DeliveryFailed):  # nothing is under way while the server is away
                await self._drop_surplus()

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)
