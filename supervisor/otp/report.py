"""What a supervisor reports: frozen records, handed to every subscriber up the tree."""

from __future__ import annotations

import enum
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

BACKLOG: Final = 1000  # reports a subscriber may be behind unless it asks for another number

_log = logging.getLogger("supervisor.otp")


class ReportKind(enum.Enum):
    """OTP's report contexts, and two more."""

    PROGRESS = "progress"  # a child is ready
    CHILD_TERMINATED = "child_terminated"  # a child ended by itself, though it should not have
    START_ERROR = "start_error"  # a child raised before it was ready
    SHUTDOWN_ERROR = "shutdown_error"  # a child asked to end did so with an error or too late
    SHUTDOWN = "shutdown"  # too many restarts: the supervisor stops its children and ends
    STUCK = "stuck"  # a child is past its limit and shields itself; once a second
    RENEWAL = "renewal"  # somebody asked for a restart of a child that runs


_NO_FAILURE: Final = frozenset({ReportKind.PROGRESS, ReportKind.RENEWAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. `error` is the exception itself, whole: with traceback, group and cause."""

    kind: ReportKind
    supervisor: str  # path, such as "root/engine"
    child_id: str
    at_ns: int  # since the epoch
    restarts: int = 0  # of this child so far
    error: BaseException | None = None
    stack: tuple[str, ...] = ()  # of a stuck child: "file:line in function", outermost first
    overdue_s: float = 0.0  # of a stuck child: since its limit


class Subscription:
    """The reports from one supervisor and all below it since the subscription; iterate to read.

    Holds at most `limit` unread reports: past that the oldest is dropped and counted in `missed`,
    so a reader that falls behind costs the supervisors nothing and knows what it lost.
    """

    def __init__(self, limit: int) -> None:
        self.missed = 0  # reports dropped so far
        self._unread: deque[Report] = deque()
        self._limit = limit
        self._lot = trio.lowlevel.ParkingLot()
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[Report]:
        return self

    async def __anext__(self) -> Report:
        await trio.lowlevel.checkpoint()
        while not self._unread:
            if self._is_closed:
                raise StopAsyncIteration
            await self._lot.park()
        return self._unread.popleft()

    def get_nowait(self) -> Report:
        """The oldest unread report.

        Raises:
            trio.WouldBlock: there is none.
        """
        if not self._unread:
            raise trio.WouldBlock
        return self._unread.popleft()

    def _put(self, report: Report) -> None:
        if len(self._unread) >= self._limit:
            self._unread.popleft()
            self.missed += 1
        self._unread.append(report)
        self._lot.unpark()

    def _close(self) -> None:
        self._is_closed = True
        self._lot.unpark_all()


class Reports:
    """The subscribers of one supervisor, and the way to those of the supervisors above it."""

    __slots__ = ("_subscriptions", "above")

    def __init__(self) -> None:
        self.above: Reports | None = None  # set while the supervisor runs under another one
        self._subscriptions: set[Subscription] = set()

    @contextmanager
    def subscribe(self, limit: int = BACKLOG) -> Iterator[Subscription]:
        """Reports from now on. Leaving the block ends the subscription: a reader sees the end."""
        subscription = Subscription(limit)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            subscription._close()

    def has_readers(self) -> bool:
        """Whether anybody would read a report made here. Starts are many, readers few."""
        here: Reports | None = self
        while here is not None:
            if here._subscriptions:
                return True
            here = here.above
        return False

    def publish(self, report: Report) -> None:
        """Hand `report` to every subscriber up the tree; log a failure that nobody would read."""
        is_read = False
        here: Reports | None = self
        while here is not None:
            for subscription in here._subscriptions:
                subscription._put(report)
                is_read = True
            here = here.above
        if is_read or report.kind in _NO_FAILURE:
            return
        if _log.isEnabledFor(logging.ERROR):
            _log.error(
                "%s: child %s: %s%s",
                report.supervisor,
                report.child_id,
                report.kind.value,
                "".join(f"\n  {frame}" for frame in report.stack),
                exc_info=report.error,
            )


def now_ns() -> int:
    """The wall clock, for `Report.at_ns`."""
    return time.time_ns()
