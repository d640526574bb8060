"""The tree's reports in the daemon's log, and the way to them for parts that the tree stands on."""

from __future__ import annotations

from contextlib import AbstractContextManager

import trio
from loguru import logger

from .otp import Node, Report, ReportKind, Roster, Subscription, Supervisor

BACKLOG = 1000

_LEVELS = {
    ReportKind.PROGRESS: "DEBUG",
    ReportKind.CHILD_TERMINATED: "ERROR",
    ReportKind.START_ERROR: "WARNING",
    ReportKind.SHUTDOWN_ERROR: "WARNING",
    ReportKind.SHUTDOWN: "ERROR",
    ReportKind.STUCK: "ERROR",
    ReportKind.RENEWAL: "INFO",
}


class TreeReports:
    """The tree for those of its parts that look at it: it is built after them."""

    def __init__(self) -> None:
        self._root: Supervisor | None = None

    def bind(self, root: Supervisor) -> None:
        """The tree whose reports these are."""
        self._root = root

    def subscribe(self, limit: int = BACKLOG) -> AbstractContextManager[Subscription]:
        """As `Supervisor.subscribe`."""
        return self._bound.subscribe(limit)

    def tree(self, depth: int | None = None) -> Node:
        """As `Supervisor.tree`."""
        return self._bound.tree(depth)

    def locate(self, path: str) -> tuple[Roster, str]:
        """As `Supervisor.locate`."""
        return self._bound.locate(path)

    @property
    def _bound(self) -> Supervisor:
        assert self._root is not None
        return self._root


class ReportLog:
    """Writes reports to the log: a crash with its traceback, a failed start with its reason."""

    def __init__(self, reports: TreeReports) -> None:
        self._reports = reports

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Log until cancelled."""
        with self._reports.subscribe(BACKLOG) as reports:
            task_status.started()
            async for report in reports:
                _log(report)


def _log(report: Report) -> None:
    log = logger.bind(service="supervisor")
    if report.kind is ReportKind.CHILD_TERMINATED and report.error is not None:
        log = log.opt(exception=report.error)
    elif report.error is not None:
        log = log.bind(error=str(report.error.__cause__ or report.error))
    if report.stack:
        log = log.bind(stack=" < ".join(report.stack), overdue_s=round(report.overdue_s, 1))
    log.bind(supervisor=report.supervisor, child=report.child_id, restarts=report.restarts).log(
        _LEVELS[report.kind], report.kind.value.replace("_", " ")
    )
