"""Stopping: stop requests, limits, children that will not end, cancellation from outside."""

from __future__ import annotations

import outcome
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    BRUTAL_KILL,
    INFINITY,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    NotRunning,
    ReportKind,
    StartTimeout,
    State,
    StopTimeout,
    Supervisor,
    stop_request,
)
from tests.supervisor.otp.stage import Boom, Stage, running


class Drainer:
    """A child that drains for `drain_s` when asked to stop, and notes when it ended and how."""

    def __init__(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self.ended_at = -1.0
        self.was_cancelled = False

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """The child."""
        request = stop_request()
        task_status.started()
        try:
            await request.wait()
            await trio.sleep(self.drain_s)
        except trio.Cancelled:
            self.was_cancelled = True
            raise
        finally:
            self.ended_at = trio.current_time()


async def test_child_without_a_stop_request_is_cancelled_at_once(
    autojump_clock: MockClock,
) -> None:
    """A child that never asked for its request needs no time to stop."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a", shutdown_s=30.0)], name="root")
    async with running(supervisor):
        await supervisor.terminate_child("a")
        assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("shutdown_s", "ended_at", "was_cancelled"),
    [(5.0, 3.0, False), (2.0, 2.0, True), (BRUTAL_KILL, 0.0, True), (INFINITY, 3.0, False)],
)
async def test_draining_child_has_shutdown_s(
    autojump_clock: MockClock, shutdown_s: float, ended_at: float, was_cancelled: bool
) -> None:
    """It drains for 3 s: within its limit it ends by itself, at its limit it is cancelled."""
    child = Drainer(3.0)
    supervisor = Supervisor(
        [ChildSpec(id="a", start=child.run, shutdown_s=shutdown_s)], name="root"
    )
    async with running(supervisor):
        await supervisor.terminate_child("a")
        assert (child.ended_at, child.was_cancelled) == (ended_at, was_cancelled)


async def test_child_that_drains_too_long_is_reported(autojump_clock: MockClock) -> None:
    """Cancelling a child at its limit is a shutdown_error."""
    child = Drainer(9.0)
    supervisor = Supervisor([ChildSpec(id="a", start=child.run, shutdown_s=2.0)], name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            await supervisor.terminate_child("a")
            report = reports.get_nowait()
    assert report.kind is ReportKind.SHUTDOWN_ERROR
    assert isinstance(report.error, StopTimeout)


async def test_child_that_fails_while_stopping_is_reported(autojump_clock: MockClock) -> None:
    """An error in a child's clean-up is not lost."""

    async def start() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("clean-up")

    supervisor = Supervisor([ChildSpec(id="a", start=start)], name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            await supervisor.terminate_child("a")
            report = reports.get_nowait()
    assert report.kind is ReportKind.SHUTDOWN_ERROR
    assert isinstance(report.error, Boom)


async def test_stop_request_is_one_and_may_be_asked_for_anywhere_in_the_child(
    autojump_clock: MockClock,
) -> None:
    """Every task of a child sees the same request."""
    seen = []

    async def helper() -> None:
        seen.append(stop_request())

    async def start() -> None:
        seen.append(stop_request())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
        await seen[0].wait()

    supervisor = Supervisor(name="root")
    async with running(supervisor):
        await supervisor.start_child(ChildSpec(id="a", start=start))
        await wait_all_tasks_blocked()
        await supervisor.terminate_child("a")
    assert seen[0] is seen[1]
    assert seen[0].is_set()


async def test_every_incarnation_has_its_own_request(autojump_clock: MockClock) -> None:
    """A restarted child is not asked to stop by the request of the one before."""
    seen = []

    async def start() -> None:
        seen.append(stop_request())
        await seen[-1].wait()

    supervisor = Supervisor([ChildSpec(id="a", start=start)], name="root")
    async with running(supervisor):
        await wait_all_tasks_blocked()
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        await wait_all_tasks_blocked()
        assert [request.is_set() for request in seen] == [True, False]


async def test_outside_of_a_supervisor_nobody_asks() -> None:
    """The code of a child also runs without a supervisor."""
    assert not stop_request().is_set()


async def test_stuck_child_is_reported_every_second_until_it_ends(
    autojump_clock: MockClock,
) -> None:
    """A child that shields itself past its limit is named with its stack, once a second."""

    async def stuck_here() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(6.5)

    async def start() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await stuck_here()

    supervisor = Supervisor([ChildSpec(id="a", start=start, shutdown_s=2.0)], name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            await supervisor.terminate_child("a")
            assert trio.current_time() == 6.5
            seen = [reports.get_nowait() for _ in range(4)]
            with pytest.raises(trio.WouldBlock):
                reports.get_nowait()
    assert [report.kind for report in seen] == [ReportKind.STUCK] * 4
    assert [report.overdue_s for report in seen] == [1, 2, 3, 4]
    assert all("stuck_here" in "".join(report.stack) for report in seen)


async def test_stuck_start_is_reported(autojump_clock: MockClock) -> None:
    """A child that shields itself past its start limit is reported as well."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(4.5)

    supervisor = Supervisor(name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            spec = ChildSpec(id="a", start=start, start_limit_s=2.0)
            with pytest.raises(StartTimeout):
                await supervisor.start_child(spec)
            assert [reports.get_nowait().kind for _ in range(2)] == [ReportKind.STUCK] * 2


@pytest.mark.parametrize("levels", [1, 2])
async def test_cancelled_supervisor_cancels_its_children_in_reverse(
    autojump_clock: MockClock, levels: int
) -> None:
    """From outside: no time to drain, but still one after the other, all the way down."""
    log: list[str] = []

    def drainer(name: str) -> ChildSpec:
        async def start() -> None:
            try:
                await stop_request().wait()
                await trio.sleep(99)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                    log.append(name)

        return ChildSpec(id=name, start=start, shutdown_s=INFINITY)

    supervisor = Supervisor([drainer("a"), drainer("b")], name="inner")
    if levels == 2:
        nested = ChildSpec(id="inner", start=supervisor.run, type=ChildType.SUPERVISOR)
        supervisor = Supervisor([nested, drainer("c")], name="outer")
    async with running(supervisor) as run:
        run.scope.cancel()
        while not run.has_ended:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
    assert log == (["b", "a"] if levels == 1 else ["c", "b", "a"])


async def test_cancelled_while_it_stops_in_good_order(autojump_clock: MockClock) -> None:
    """A supervisor whose own time to stop is over cancels what is left."""
    children = [Drainer(10.0), Drainer(10.0)]
    inner = Supervisor(
        [ChildSpec(id=str(i), start=c.run, shutdown_s=60.0) for i, c in enumerate(children)],
        name="inner",
    )
    outer = Supervisor(
        [ChildSpec(id="inner", start=inner.run, type=ChildType.SUPERVISOR, shutdown_s=15.0)],
        name="outer",
    )
    async with running(outer):
        await outer.terminate_child("inner")
    assert [child.ended_at for child in children] == [15.0, 10.0]
    assert [child.was_cancelled for child in children] == [True, False]


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_program_ending_error_ends_the_tree(
    autojump_clock: MockClock, kind: type[Supervisor] | type[DynamicSupervisor]
) -> None:
    """SystemExit in a child is nobody's to handle: the others are stopped, and it goes on up."""
    stage = Stage()
    supervisor = kind(name="root")

    async def leave() -> None:
        raise SystemExit(3)

    async def tree() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await supervisor.start_child(stage.spec("a"))
            await supervisor.start_child(ChildSpec(id="b", start=leave))

    with pytest.raises(BaseExceptionGroup) as caught:
        await tree()
    assert caught.group_contains(SystemExit)
    assert stage.log == ["+a", "-a"]


async def test_keyboard_interrupt_in_the_supervisors_task(autojump_clock: MockClock) -> None:
    """Whatever interrupts run() itself, no child outlives it."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root")

    async def tree() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            # As trio does to the main task when it waits and the user presses Ctrl-C.
            task, supervisor._parked = supervisor._parked, None
            assert task is not None
            trio.lowlevel.reschedule(task, outcome.Error(KeyboardInterrupt()))

    with pytest.raises(BaseExceptionGroup) as caught:
        await tree()
    assert caught.group_contains(KeyboardInterrupt)
    assert stage.log == ["+a", "-a"]


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_calls_while_it_is_being_cancelled_are_refused(
    autojump_clock: MockClock, kind: type[Supervisor] | type[DynamicSupervisor]
) -> None:
    """While a cancelled supervisor still waits for a child it takes no calls."""

    async def start() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    stage = Stage()
    supervisor = kind(name="root")
    async with running(supervisor) as run:
        await supervisor.start_child(ChildSpec(id="a", start=start))
        await wait_all_tasks_blocked()
        run.scope.cancel()
        await wait_all_tasks_blocked()
        assert not run.has_ended
        assert supervisor.tree().state is State.STOPPING
        with pytest.raises(NotRunning):
            await supervisor.start_child(stage.spec("b"))


async def test_second_supervisor_of_a_child_that_was_asked_to_stop(
    autojump_clock: MockClock,
) -> None:
    """Supervisors run one after the other in a child's main task: the stop reaches each."""
    stage = Stage()

    async def start() -> None:
        await Supervisor([stage.spec("a")], name="one").run()
        await Supervisor([stage.spec("b")], name="two").run()

    root = Supervisor([ChildSpec(id="both", start=start, shutdown_s=60.0)], name="root")
    async with running(root):
        await wait_all_tasks_blocked()
        await root.terminate_child("both")
        assert trio.current_time() == 0
    assert stage.log == ["+a", "-a"]
