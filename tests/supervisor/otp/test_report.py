"""Reports: what is told, to whom, and what happens to those who do not listen."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    ChildSpec,
    ChildType,
    Intensity,
    Report,
    ReportKind,
    StartFailed,
    Subscription,
    Supervisor,
)
from tests.supervisor.otp.stage import Boom, Stage, running


def drain(subscription: Subscription) -> list[Report]:
    """Everything unread."""
    reports = []
    while True:
        try:
            reports.append(subscription.get_nowait())
        except trio.WouldBlock:
            return reports


async def test_the_life_of_a_child_in_reports(autojump_clock: MockClock) -> None:
    """Progress, crash, failed restart, progress, and giving up, with supervisor and child named."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root", intensity=Intensity(max_restarts=2))
    with supervisor.subscribe() as reports:
        async with running(supervisor):
            stage.plans["a"].append("fail")
            await stage.tell("a", "crash")
            await stage.tell("a", "crash")
    seen = drain(reports)
    assert [report.kind for report in seen] == [
        ReportKind.PROGRESS,
        ReportKind.CHILD_TERMINATED,
        ReportKind.START_ERROR,
        ReportKind.PROGRESS,
        ReportKind.CHILD_TERMINATED,
        ReportKind.SHUTDOWN,
    ]
    assert {(report.supervisor, report.child_id) for report in seen} == {("root", "a")}
    assert [report.restarts for report in seen] == [0, 0, 1, 2, 2, 2]
    assert [type(report.error) for report in seen if report.error] == [Boom] * 4


async def test_failed_first_start_is_reported(autojump_clock: MockClock) -> None:
    """start_error, with the child's error."""
    stage = Stage()
    stage.plans["a"].append("fail")
    supervisor = Supervisor([stage.spec("a")], name="root")
    with supervisor.subscribe() as reports, pytest.raises(StartFailed):
        async with running(supervisor):
            pass
    (report,) = drain(reports)
    assert (report.kind, type(report.error)) == (ReportKind.START_ERROR, Boom)


async def test_permanent_child_that_returns_is_reported(autojump_clock: MockClock) -> None:
    """It should not have: as in OTP that is worth a report, without an error."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            await stage.tell("a", "normal")
            first = reports.get_nowait()
    assert (first.kind, first.error) == (ReportKind.CHILD_TERMINATED, None)


async def test_reports_go_up_the_tree(autojump_clock: MockClock) -> None:
    """A subscription covers the supervisor and all below it, and nothing beside it."""
    stage = Stage()
    left = Supervisor([stage.spec("a")], name="left")
    right = Supervisor([stage.spec("b")], name="right")
    specs = [ChildSpec(id=s.name, start=s.run, type=ChildType.SUPERVISOR) for s in (left, right)]
    root = Supervisor(specs, name="root")
    with root.subscribe() as at_root, left.subscribe() as at_left:
        async with running(root):
            await stage.tell("b", "crash")
    assert [(r.supervisor, r.child_id) for r in drain(at_root)] == [
        ("root/left", "a"),
        ("root", "left"),
        ("root/right", "b"),
        ("root", "right"),
        ("root/right", "b"),
        ("root/right", "b"),
    ]
    assert [r.child_id for r in drain(at_left)] == ["a"]


async def test_slow_reader_loses_the_oldest_and_knows(autojump_clock: MockClock) -> None:
    """The backlog is bounded; what fell out of it is counted."""
    stage = Stage()
    supervisor = Supervisor([stage.spec(str(i)) for i in range(5)], name="root")
    with supervisor.subscribe(limit=2) as reports:
        async with running(supervisor):
            assert [report.child_id for report in drain(reports)] == ["3", "4"]
            assert reports.missed == 3


async def test_iteration_waits_and_ends_with_the_block(autojump_clock: MockClock) -> None:
    """A reader gets reports as they come, and the end when the subscription is left."""
    stage = Stage()
    supervisor = Supervisor(name="root")
    seen = []

    async def read(subscription: Subscription) -> None:
        seen.extend([report.child_id async for report in subscription])

    async with running(supervisor), trio.open_nursery() as nursery:
        with supervisor.subscribe() as reports:
            nursery.start_soon(read, reports)
            for child_id in "ab":
                await supervisor.start_child(stage.spec(child_id))
            await wait_all_tasks_blocked()
    assert seen == ["a", "b"]


async def test_failures_without_a_reader_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost only because nobody subscribed; progress is not logged."""
    stage = Stage()
    async with running(Supervisor([stage.spec("a")], name="root")):
        await stage.tell("a", "crash")
    (record,) = [r for r in caplog.records if r.name == "supervisor.otp"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "root: child a: child_terminated"
    assert record.exc_info is not None
    assert record.exc_info[0] is Boom
