"""What the tree has reported lately, numbered, for readers that come and go; and how often what.

There is no buffer for each reader: each has a place in the one numbered sequence, of which the
newest KEPT are here. A reader that falls further behind is told how many it has missed, and goes on
with the oldest that is left. Nobody waits for a reader.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from traceback import format_exception
from typing import Final, Protocol

import trio

from services.measures import Counts
from supervisor.otp import Report, ReportKind, Subscription

KEPT: Final = 1000
CRASHES_KEPT: Final = 100
BACKLOG: Final = 10_000  # reports that wait to be taken in; past that the oldest are dropped
TRACEBACK_BYTES: Final = 32 * 1024

_ROOT: Final = f"{Path(__file__).resolve().parents[2]}/"

# The parts of one container stand under its id; a counter for each would grow without bound.
_ID: Final = re.compile(r"[0-9a-f]{64}")


class ReportSource(Protocol):
    """The root supervisor, as far as its reports go."""

    def subscribe(self, limit: int = ...) -> AbstractContextManager[Subscription]:
        """The reports of the whole tree from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenReport:
    """A report as text: it holds no exception, and so no frames and what hangs on them."""

    number: int  # grows by 1; from 1 with each start of the daemon
    kind: ReportKind
    supervisor: str
    child: str
    at_ns: int
    restarts: int
    error: str = ""  # one line
    traceback: str = ""
    stack: Sequence[str] = ()
    overdue_s: float = 0.0

    @property
    def path(self) -> str:
        """The child's."""
        return f"{self.supervisor}/{self.child}"


@dataclass(frozen=True, slots=True)
class Missed:
    """So many reports are not kept any more; the next one is number `next_number`."""

    count: int
    next_number: int


class ReportReader:
    """One reader's place in the sequence; for one task."""

    def __init__(self, history: ReportHistory, after: int) -> None:
        self._history = history
        self._seen = after

    async def next(self) -> SeenReport | Missed:
        """The next one, as soon as it is there."""
        while (found := self._history.after(self._seen)) is None:
            await self._history.wait_new()
        self._seen = found.next_number - 1 if isinstance(found, Missed) else found.number
        return found


class ReportHistory:
    """Takes in the tree's reports while `run` runs. What it holds outlives its restarts.

    Attributes:
        run_id: differs from daemon to daemon, so that a number of another one is not taken for
            one of ours.
        restarts: children that are ready again after a restart, by supervisor and child.
        reports: all but progress, by supervisor and kind.
        missed: reports that were dropped because taking them in fell behind.
    """

    def __init__(self, source: ReportSource, *, kept: int = KEPT) -> None:
        self.run_id: Final = secrets.token_hex(4)
        self.restarts: Final = Counts()
        self.reports: Final = Counts()
        self.missed = 0
        self._source = source
        self._kept: deque[SeenReport] = deque(maxlen=kept)
        self._crashes: deque[SeenReport] = deque(maxlen=CRASHES_KEPT)
        self._number = 0  # of the newest
        self._news = trio.Event()
        self._threads = trio.CapacityLimiter(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take reports in until cancelled."""
        with self._source.subscribe(BACKLOG) as reports:
            task_status.started()
            missed = 0
            async for report in reports:
                self._skip(reports.missed - missed)
                missed = reports.missed
                await self._take(report)

    @property
    def crashes(self) -> Sequence[SeenReport]:
        """The newest failures of all kinds, oldest first."""
        return tuple(self._crashes)

    @property
    def newest(self) -> int:
        """The number of the newest report; 0 if there is none."""
        return self._number

    def reader(self, *, after: int | None = None) -> ReportReader:
        """Reads what comes after a number; None: what comes from now on."""
        return ReportReader(self, self._number if after is None else min(after, self._number))

    def after(self, number: int) -> SeenReport | Missed | None:
        """What a reader that has seen `number` gets next; None: there is nothing yet."""
        if number >= self._number:
            return None
        # From the newest backwards: readers are close behind, as a rule.
        back = next((r for r in reversed(self._kept) if r.number <= number + 1), None)
        if back is not None and back.number == number + 1:
            return back
        later = next((r for r in self._kept if r.number > number), None)
        upto = self._number + 1 if later is None else later.number
        return Missed(count=upto - number - 1, next_number=upto)

    async def wait_new(self) -> None:
        """Block until there is something new."""
        await self._news.wait()

    def _skip(self, count: int) -> None:
        """Reports were dropped before they got here: their numbers stay without a report."""
        self._number += count
        self.missed += count

    async def _take(self, report: Report) -> None:
        self._count(report)
        traceback = ""
        if report.error is not None:
            # Reads the source files' lines, if that was not done before.
            work = partial(traceback_text, report.error)
            traceback = await trio.to_thread.run_sync(work, limiter=self._threads)
        self._number += 1
        seen = SeenReport(
            number=self._number,
            kind=report.kind,
            supervisor=report.supervisor,
            child=report.child_id,
            at_ns=report.at_ns,
            restarts=report.restarts,
            error=one_line(report.error),
            traceback=traceback,
            stack=report.stack,
            overdue_s=report.overdue_s,
        )
        self._kept.append(seen)
        if report.kind not in (ReportKind.PROGRESS, ReportKind.RENEWAL):
            self._crashes.append(seen)
        self._news.set()
        self._news = trio.Event()

    def _count(self, report: Report) -> None:
        supervisor = _ID.sub("*", report.supervisor)
        if report.kind is not ReportKind.PROGRESS:
            self.reports.add(supervisor, report.kind.value)
        elif report.restarts > 0:
            self.restarts.add(supervisor, _ID.sub("*", report.child_id))


def one_line(error: BaseException | None) -> str:
    """An error in a list: its type and the first line of its text; of a group the one in it."""
    if error is None:
        return ""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # what a nursery makes of an error in one of its tasks
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def traceback_text(error: BaseException) -> str:
    """The whole traceback, with paths from the project's folder on. Blocks.

    Of one that is too long, beginning and end.
    """
    text = "".join(islice(format_exception(error), 10_000)).replace(_ROOT, "")
    if len(text) <= TRACEBACK_BYTES:
        return text
    half = TRACEBACK_BYTES // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
