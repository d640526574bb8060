"""Supervisor: what is restarted with whom, how often, and when it gives up."""

from __future__ import annotations

import traceback

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    Backoff,
    ChildSpec,
    ChildType,
    Intensity,
    ReportKind,
    Restart,
    Shutdown,
    State,
    Strategy,
    StrayCancelled,
    Supervisor,
    TooManyRestarts,
)
from tests.supervisor.otp.stage import Boom, Stage, running

OFTEN = Intensity(max_restarts=100)


def states(supervisor: Supervisor) -> dict[str, State]:
    """Where each child stands."""
    return {child.id: child.state for child in supervisor.which_children()}


@pytest.mark.parametrize("end", ["crash", "normal", "shutdown"])
@pytest.mark.parametrize("restart", list(Restart))
async def test_restart_type_and_end_decide(
    autojump_clock: MockClock, restart: Restart, end: str
) -> None:
    """Permanent: always; transient: after a crash; temporary: never, and its spec goes."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a", restart=restart)], name="root")
    async with running(supervisor):
        await stage.tell("a", end)
        comes_back = restart is Restart.PERMANENT or (
            restart is Restart.TRANSIENT and end == "crash"
        )
        assert stage.log == ["+a", "xa", *(["+a"] if comes_back else [])]
        if restart is Restart.TEMPORARY:
            assert states(supervisor) == {}
        else:
            assert states(supervisor) == {"a": State.RUNNING if comes_back else State.STOPPED}


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        (Strategy.ONE_FOR_ONE, ["xb", "+b"]),
        (Strategy.REST_FOR_ONE, ["xb", "-d", "-c", "+b", "+c", "+d"]),
        (Strategy.ONE_FOR_ALL, ["xb", "-d", "-c", "-a", "+a", "+b", "+c", "+d"]),
    ],
)
async def test_strategy_decides_who_restarts(
    autojump_clock: MockClock, strategy: Strategy, log: list[str]
) -> None:
    """Those that go with the child stop in reverse, and all start in order."""
    stage = Stage()
    async with running(Supervisor([stage.spec(i) for i in "abcd"], name="r", strategy=strategy)):
        stage.take_log()
        await stage.tell("b", "crash")
        assert stage.log == log


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
async def test_temporary_siblings_are_not_restarted(
    autojump_clock: MockClock, strategy: Strategy
) -> None:
    """A temporary child stopped because of a sibling is gone, spec and all."""
    stage = Stage()
    specs = [stage.spec("a"), stage.spec("t", restart=Restart.TEMPORARY), stage.spec("z")]
    supervisor = Supervisor(specs, name="root", strategy=strategy)
    async with running(supervisor):
        stage.take_log()
        await stage.tell("a", "crash")
        assert stage.log == ["xa", "-z", "-t", "+a", "+z"]
        assert list(states(supervisor)) == ["a", "z"]


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
async def test_group_restart_starts_stopped_siblings(
    autojump_clock: MockClock, strategy: Strategy
) -> None:
    """As in OTP, a sibling that had been terminated is started with the group."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a"), stage.spec("b")], name="root", strategy=strategy)
    async with running(supervisor):
        await supervisor.terminate_child("b")
        stage.take_log()
        await stage.tell("a", "crash")
        assert stage.log == ["xa", "+a", "+b"]


async def test_failed_restart_counts_and_is_tried_again(autojump_clock: MockClock) -> None:
    """Each attempt counts against the intensity; with enough of it the child comes back."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root", intensity=Intensity(max_restarts=3))
    async with running(supervisor) as run:
        stage.plans["a"].extend(["fail", "fail"])
        await stage.tell("a", "crash")
        assert stage.log == ["+a", "xa", "!a", "!a", "+a"]
        assert supervisor.tree().supervisor.restarts_left == 0  # type: ignore[union-attr]
        await stage.tell("a", "crash")
        assert isinstance(run.error, TooManyRestarts)


async def test_failed_restart_may_exceed_the_intensity(autojump_clock: MockClock) -> None:
    """A child that cannot start any more takes its supervisor down; siblings stop in reverse."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec(i) for i in "abc"], name="root", intensity=Intensity(max_restarts=2)
    )
    async with running(supervisor) as run:
        stage.take_log()
        stage.plans["b"].extend(["fail"] * 9)
        await stage.tell("b", "crash")
        assert stage.log == ["xb", "!b", "!b", "-c", "-a"]
        assert isinstance(run.error, TooManyRestarts)
        assert isinstance(run.error.__cause__, Boom)


async def test_rest_for_one_retry_leaves_restarted_siblings_alone(
    autojump_clock: MockClock,
) -> None:
    """When c fails while the rest restarts, b, which is up again, is not touched by the retry."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec(i) for i in "abcd"], name="r", strategy=Strategy.REST_FOR_ONE, intensity=OFTEN
    )
    async with running(supervisor):
        stage.take_log()
        stage.plans["c"].append("fail")
        await stage.tell("b", "crash")
        assert stage.log == ["xb", "-d", "-c", "+b", "!c", "+c", "+d"]


async def test_one_for_all_retry_begins_anew(autojump_clock: MockClock) -> None:
    """When c fails while all restart, those that are up again stop and start once more."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec(i) for i in "abc"], name="r", strategy=Strategy.ONE_FOR_ALL, intensity=OFTEN
    )
    async with running(supervisor):
        stage.take_log()
        stage.plans["c"].append("fail")
        await stage.tell("b", "crash")
        assert stage.log == ["xb", "-c", "-a", "+a", "+b", "!c", "-b", "-a", "+a", "+b", "+c"]


async def test_child_that_dies_during_a_restart_waits_its_turn(autojump_clock: MockClock) -> None:
    """A sibling that crashes while others restart is dealt with after them."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec(i) for i in "abc"], name="r", strategy=Strategy.REST_FOR_ONE, intensity=OFTEN
    )
    async with running(supervisor):
        stage.take_log()
        stage.plans["c"].append("kill:a")
        await stage.tell("b", "crash")
        assert stage.log == ["xb", "-c", "+b", "xa", "+c", "-c", "-b", "+a", "+b", "+c"]


async def test_child_that_died_before_it_was_stopped_counts_once(
    autojump_clock: MockClock,
) -> None:
    """Two crashes at once under one_for_all are one restart: the second end is void by then."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec("a"), stage.spec("b")],
        name="root",
        strategy=Strategy.ONE_FOR_ALL,
        intensity=Intensity(max_restarts=1),
    )
    async with running(supervisor) as run:
        stage.order("a", "crash")
        await stage.tell("b", "crash")
        assert run.error is None
        assert stage.log[-2:] == ["+a", "+b"]


async def test_restarts_outside_the_window_are_forgotten(autojump_clock: MockClock) -> None:
    """With 1 restart in 5 s, a crash every 6 s is borne for ever, a second within 5 s is not."""
    stage = Stage()
    async with running(Supervisor([stage.spec("a")], name="root")) as run:
        for _ in range(5):
            await stage.tell("a", "crash")
            await trio.sleep(6)
        assert not run.has_ended
        await stage.tell("a", "crash")
        await trio.sleep(5)  # the edge of the window is still in it
        await stage.tell("a", "crash")
        assert isinstance(run.error, TooManyRestarts)
        assert (run.error.supervisor, run.error.child_id) == ("root", "a")


async def test_giving_up_is_a_shutdown_with_its_cause(autojump_clock: MockClock) -> None:
    """The supervisor above sees `Shutdown`; the last crash is the cause."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root", intensity=Intensity(max_restarts=0))
    async with running(supervisor) as run:
        await stage.tell("a", "crash")
        assert isinstance(run.error, Shutdown)
        assert isinstance(run.error.__cause__, Boom)


@pytest.mark.parametrize("restart", list(Restart))
async def test_escalation(autojump_clock: MockClock, restart: Restart) -> None:
    """A supervisor that gave up is restarted only if it is permanent: it ended with Shutdown."""
    stage = Stage()
    inner = Supervisor(
        [stage.spec("a"), stage.spec("b")], name="inner", intensity=Intensity(max_restarts=0)
    )
    outer = Supervisor(
        [ChildSpec(id="inner", start=inner.run, restart=restart, type=ChildType.SUPERVISOR)],
        name="outer",
    )
    async with running(outer):
        stage.take_log()
        await stage.tell("a", "crash")
        again = ["+a", "+b"] if restart is Restart.PERMANENT else []
        assert stage.log == ["xa", "-b", *again]


async def test_crashes_keep_their_whole_error(autojump_clock: MockClock) -> None:
    """Group, traceback and cause reach the report as they were raised."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, 1)
            nursery.start_soon(fail, 2)

    async def fail(number: int) -> None:
        await trio.sleep(1)
        raise Boom(number) from KeyError(number)

    supervisor = Supervisor([ChildSpec(id="a", start=start)], name="root")
    async with running(supervisor):
        with supervisor.subscribe() as reports:
            await trio.sleep(1.5)
            report = reports.get_nowait()
    assert report.kind is ReportKind.CHILD_TERMINATED
    assert isinstance(report.error, ExceptionGroup)
    assert all(isinstance(e.__cause__, KeyError) for e in report.error.exceptions)
    assert "fail" in [frame.name for e in report.error.exceptions for frame in _frames(e)]


async def test_shutdown_in_a_group_is_a_shutdown(autojump_clock: MockClock) -> None:
    """trio wraps what leaves a nursery; a group of nothing but Shutdown still means shutdown."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with trio.open_nursery():
            raise Shutdown("enough")

    supervisor = Supervisor(
        [ChildSpec(id="a", start=start, restart=Restart.TRANSIENT)], name="root"
    )
    async with running(supervisor) as run:
        await wait_all_tasks_blocked()
        assert run.error is None
        assert states(supervisor) == {"a": State.STOPPED}


@pytest.mark.parametrize("in_group", [False, True])
async def test_stray_cancelled_is_a_crash(autojump_clock: MockClock, in_group: bool) -> None:
    """A Cancelled that was kept from another scope ends the child, not the supervisor."""
    kept: list[trio.Cancelled] = []

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if not kept:
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as error:
                    kept.append(error)
            if in_group:
                raise BaseExceptionGroup("both", [kept[0], Boom()])
            raise kept[0]
        await trio.sleep_forever()

    supervisor = Supervisor([ChildSpec(id="a", start=start)], name="root")
    async with running(supervisor) as run:
        await wait_all_tasks_blocked()
        assert run.error is None
        (node,) = supervisor.tree().children
        assert (node.state, node.restarts) == (State.RUNNING, 1)
        assert isinstance(node.last_crash, StrayCancelled)


async def test_own_scopes_of_a_child_are_its_own(autojump_clock: MockClock) -> None:
    """A child that is cancelled by a scope of its own, and goes on or returns, has not crashed."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.move_on_after(2):
            await trio.sleep_forever()

    supervisor = Supervisor(
        [ChildSpec(id="a", start=start, restart=Restart.TRANSIENT)], name="root"
    )
    async with running(supervisor):
        await trio.sleep(3)
        assert states(supervisor) == {"a": State.STOPPED}
        assert supervisor.tree().children[0].last_crash is None


async def test_backoff_delays_restarts_up_to_its_cap(autojump_clock: MockClock) -> None:
    """Restarts come after 1, 2, 4, 4 seconds, and after 1 again once the child ran long enough."""
    stage = Stage()
    backoff = Backoff(first_s=1.0, factor=2.0, cap_s=4.0, reset_s=60.0)
    supervisor = Supervisor([stage.spec("a", backoff=backoff)], name="root", intensity=OFTEN)
    async with running(supervisor):
        assert [await _restart_time(stage) for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
        await trio.sleep(60)
        assert await _restart_time(stage) == 1.0


async def test_backoff_also_between_failed_starts(autojump_clock: MockClock) -> None:
    """A restart that fails to start is tried again after the next delay, and counts."""
    stage = Stage()
    supervisor = Supervisor(
        [stage.spec("a", backoff=Backoff(first_s=1.0, cap_s=8.0))], name="root", intensity=OFTEN
    )
    async with running(supervisor):
        stage.plans["a"].extend(["fail", "fail"])
        assert await _restart_time(stage) == 1 + 2 + 4


async def test_group_waits_stopped_for_the_backoff(autojump_clock: MockClock) -> None:
    """Under rest_for_one the dependants stop at once and start after the child came back."""
    stage = Stage()
    backoff = Backoff(first_s=2.0)
    specs = [stage.spec("a"), stage.spec("b", backoff=backoff), stage.spec("c")]
    supervisor = Supervisor(specs, name="root", strategy=Strategy.REST_FOR_ONE)
    async with running(supervisor):
        stage.take_log()
        await stage.tell("b", "crash")
        assert stage.take_log() == ["xb", "-c"]
        assert states(supervisor) == {
            "a": State.RUNNING,
            "b": State.RESTARTING,
            "c": State.STOPPED,
        }
        await trio.sleep(2.5)
        assert stage.take_log() == ["+b", "+c"]


async def test_siblings_restart_during_a_backoff(autojump_clock: MockClock) -> None:
    """Back-off holds up nobody else."""
    stage = Stage()
    specs = [stage.spec("a", backoff=Backoff(first_s=30.0)), stage.spec("b")]
    async with running(Supervisor(specs, name="root", intensity=OFTEN)):
        await stage.tell("a", "crash")
        stage.take_log()
        await stage.tell("b", "crash")
        assert stage.log == ["xb", "+b"]


async def _restart_time(stage: Stage) -> float:
    """Seconds from a crash of child a until it is back."""
    began = trio.current_time()
    await stage.tell("a", "crash")
    await trio.sleep(20)
    return stage.started_at["a"] - began


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))
