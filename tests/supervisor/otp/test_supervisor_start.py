"""Supervisor: starting, in order and by readiness, and what happens when a start fails."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    BadSpec,
    ChildSpec,
    Restart,
    StartFailed,
    StartTimeout,
    State,
    Strategy,
    Supervisor,
    stop_request,
)
from tests.supervisor.otp.stage import Boom, Stage, running


async def test_children_start_in_order_and_stop_in_reverse(autojump_clock: MockClock) -> None:
    """The order of the specs is the order of starts, and its reverse that of stops."""
    stage = Stage()
    async with running(Supervisor([stage.spec(i) for i in "abc"], name="root")):
        assert stage.take_log() == ["+a", "+b", "+c"]
    assert stage.log == ["-c", "-b", "-a"]


async def test_next_child_starts_once_the_one_before_is_ready(autojump_clock: MockClock) -> None:
    """Order is by readiness: b is not called while a has not called started()."""
    times: dict[str, float] = {}

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        times["a"] = trio.current_time()
        await trio.sleep(3)
        task_status.started()
        await trio.sleep_forever()

    async def quick() -> None:
        times["b"] = trio.current_time()
        await trio.sleep_forever()

    specs = [ChildSpec(id="a", start=slow), ChildSpec(id="b", start=quick)]
    async with running(Supervisor(specs, name="root")):
        assert times["b"] - times["a"] == 3


async def test_supervisor_is_ready_when_its_last_child_is(autojump_clock: MockClock) -> None:
    """run() calls started() after every child has, and passes the supervisor."""

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(2)
        task_status.started()
        await trio.sleep_forever()

    supervisor = Supervisor([ChildSpec(id=i, start=slow) for i in "ab"], name="root")
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        assert await nursery.start(supervisor.run) is supervisor
        assert trio.current_time() - began == 4
        nursery.cancel_scope.cancel()


async def test_child_without_task_status_is_ready_once_it_runs(autojump_clock: MockClock) -> None:
    """A start function that takes no task_status need not say that it is ready."""
    stage = Stage()

    async def plain() -> None:
        stage.log.append("plain")
        await trio.sleep_forever()

    specs = [ChildSpec(id="p", start=plain), stage.spec("a")]
    async with running(Supervisor(specs, name="root")):
        assert stage.log == ["plain", "+a"]


async def test_failed_start_undoes_in_reverse(autojump_clock: MockClock) -> None:
    """If the third child fails, so does the supervisor's start, and the two before it stop."""
    stage = Stage()
    stage.plans["c"].append("fail")
    with pytest.raises(StartFailed) as caught:
        async with running(Supervisor([stage.spec(i) for i in "abcd"], name="root")):
            pass
    assert stage.log == ["+a", "+b", "!c", "-b", "-a"]
    assert (caught.value.supervisor, caught.value.child_id) == ("root", "c")
    assert isinstance(caught.value.__cause__, Boom)


async def test_failed_start_is_not_tried_again(autojump_clock: MockClock) -> None:
    """Restarts are for children that have run; a supervisor's own start is all or nothing."""
    stage = Stage()
    stage.plans["a"].extend(["fail", "ok"])
    with pytest.raises(StartFailed):
        async with running(Supervisor([stage.spec("a")], name="root")):
            pass
    assert stage.log == ["!a"]


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
async def test_ignoring_child_keeps_its_spec(autojump_clock: MockClock, restart: Restart) -> None:
    """A child that returns before it is ready is not running, yet can be started later."""
    stage = Stage()
    stage.plans["a"].append("ignore")
    supervisor = Supervisor([stage.spec("a", restart=restart), stage.spec("b")], name="root")
    async with running(supervisor):
        assert [(c.id, c.state) for c in supervisor.which_children()] == [
            ("a", State.STOPPED),
            ("b", State.RUNNING),
        ]
        assert await supervisor.restart_child("a") == "a"
    assert stage.log == ["?a", "+b", "+a", "-b", "-a"]


async def test_ignoring_temporary_child_is_forgotten(autojump_clock: MockClock) -> None:
    """A temporary child that ignores leaves no spec."""
    stage = Stage()
    stage.plans["a"].append("ignore")
    supervisor = Supervisor([stage.spec("a", restart=Restart.TEMPORARY)], name="root")
    async with running(supervisor):
        assert supervisor.which_children() == ()


async def test_specs_are_checked_before_anything_starts() -> None:
    """Two specs of one id are refused by the constructor."""
    stage = Stage()
    with pytest.raises(BadSpec, match="two of that id"):
        Supervisor([stage.spec("a"), stage.spec("a")], name="root")


async def test_started_twice_is_an_error_of_the_child(autojump_clock: MockClock) -> None:
    """As in trio, the second call of started() raises in the child."""
    raised = False

    async def twice(task_status: trio.TaskStatus[None]) -> None:
        nonlocal raised
        task_status.started()
        try:
            task_status.started()
        except RuntimeError:
            raised = True
        await trio.sleep_forever()

    async with running(Supervisor([ChildSpec(id="a", start=twice)], name="root")):
        assert raised


async def test_start_limit_fails_the_start(autojump_clock: MockClock) -> None:
    """A child that is not ready within start_limit_s is cancelled, which is a start error."""
    supervisor = Supervisor([ChildSpec(id="a", start=never_ready, start_limit_s=3.0)], name="root")
    with pytest.raises(StartFailed) as caught:
        async with running(supervisor):
            pass
    assert isinstance(caught.value.__cause__, StartTimeout)
    assert trio.current_time() == 3.0


async def test_start_limit_ends_with_readiness(autojump_clock: MockClock) -> None:
    """A child that was ready in time is not bothered by the limit any more."""
    stage = Stage()
    async with running(Supervisor([stage.spec("a", start_limit_s=3.0)], name="root")):
        await trio.sleep(10)
        assert stage.log == ["+a"]


async def test_stop_calls_off_the_first_start(autojump_clock: MockClock) -> None:
    """A supervisor asked to stop while a child is starting does not wait for that child."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a"), ChildSpec(id="b", start=never_ready)], name="root")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await wait_all_tasks_blocked()
        supervisor.stop()
    assert stage.log == ["+a", "-a"]
    assert trio.current_time() == 0


async def test_run_may_be_run_again(autojump_clock: MockClock) -> None:
    """A second run has the initial specs: what was added is gone, what was deleted is back."""
    stage = Stage()
    supervisor = Supervisor([stage.spec("a")], name="root")
    async with running(supervisor):
        await supervisor.start_child(stage.spec("b"))
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
    async with running(supervisor):
        assert [child.id for child in supervisor.which_children()] == ["a"]


async def test_run_twice_at_once_is_refused(autojump_clock: MockClock) -> None:
    """One object is one supervisor: it cannot run in two tasks."""
    supervisor = Supervisor(name="root")
    async with running(supervisor):
        with pytest.raises(RuntimeError, match="running already"):
            await supervisor.run()


async def test_children_get_the_supervisors_context(autojump_clock: MockClock) -> None:
    """A child started by a call does not inherit the caller's context variables."""
    from contextvars import ContextVar

    who = ContextVar("who", default="nobody")
    seen = []

    async def look() -> None:
        seen.append(who.get())
        await trio.sleep_forever()

    supervisor = Supervisor(name="root")
    async with running(supervisor):
        who.set("caller")
        await supervisor.start_child(ChildSpec(id="a", start=look))
    assert seen == ["nobody"]


async def test_a_start_in_progress_may_drain_when_called_off(autojump_clock: MockClock) -> None:
    """A child that asked for its stop request before it was ready gets it when the stop comes."""
    drained = False

    async def start(task_status: trio.TaskStatus[None]) -> None:
        nonlocal drained
        await stop_request().wait()
        drained = True

    supervisor = Supervisor(
        [ChildSpec(id="a", start=start)], name="root", strategy=Strategy.ONE_FOR_ALL
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await wait_all_tasks_blocked()
        supervisor.stop()
    assert drained


async def never_ready(task_status: trio.TaskStatus[None]) -> None:
    """Starts for ever."""
    await trio.sleep_forever()
