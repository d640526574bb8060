"""renew_child: a running child ends and starts again because somebody wants it to."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    BadSpec,
    ChildSpec,
    DynamicSupervisor,
    Intensity,
    NotFound,
    NotRunning,
    ReportKind,
    Restart,
    Restarting,
    StartFailed,
    State,
    Strategy,
    Supervisor,
    stop_request,
)
from tests.supervisor.otp.stage import Boom, Stage, running

NO_RESTART = Intensity(max_restarts=0)
ONE_RESTART = Intensity(max_restarts=1)


async def supervisor_with(
    stage: Stage, *ids: str, is_dynamic: bool, intensity: Intensity = NO_RESTART
) -> Supervisor | DynamicSupervisor:
    """Of either kind; a dynamic one gets its children from `fill`."""
    if is_dynamic:
        return DynamicSupervisor(name="root", intensity=intensity)
    return Supervisor([stage.spec(child) for child in ids], name="root", intensity=intensity)


async def fill(supervisor: Supervisor | DynamicSupervisor, stage: Stage, *ids: str) -> None:
    if isinstance(supervisor, DynamicSupervisor):
        for child in ids:
            await supervisor.start_child(stage.spec(child))
    stage.take_log()


both = pytest.mark.parametrize("is_dynamic", [False, True], ids=["ordered", "dynamic"])


@both
async def test_it_alone_ends_and_starts(autojump_clock: MockClock, is_dynamic: bool) -> None:
    """It is ready again when the call returns; counted as its restart, but not as a crash."""
    stage = Stage()
    supervisor = await supervisor_with(stage, "a", "b", is_dynamic=is_dynamic)
    async with running(supervisor) as run:
        await fill(supervisor, stage, "a", "b")
        for _ in range(3):  # which the intensity would not allow
            await supervisor.renew_child("a")
            assert stage.take_log() == ["-a", "+a"]
        node = next(node for node in supervisor.tree().children if node.path == "root/a")
        assert (node.state, node.restarts, node.crashes) == (State.RUNNING, 3, 0)
        facts = supervisor.tree().supervisor
        assert facts is not None
        assert facts.restarts_left == 0  # as before
    assert run.error is None


@both
async def test_it_is_reported(autojump_clock: MockClock, is_dynamic: bool) -> None:
    """As what it is, and then as ready."""
    stage = Stage()
    supervisor = await supervisor_with(stage, "a", is_dynamic=is_dynamic)
    async with running(supervisor):
        await fill(supervisor, stage, "a")
        with supervisor.subscribe() as reports:
            await supervisor.renew_child("a")
            kinds = [reports.get_nowait().kind for _ in range(2)]
            assert kinds == [ReportKind.RENEWAL, ReportKind.PROGRESS]
            with pytest.raises(trio.WouldBlock):
                reports.get_nowait()


@both
async def test_it_may_drain(autojump_clock: MockClock, is_dynamic: bool) -> None:
    """A child that hears stop requests has its time."""
    drained: list[float] = []

    async def drain() -> None:
        request = stop_request()
        await request.wait()
        await trio.sleep(2)
        drained.append(trio.current_time())

    spec = ChildSpec(id="a", start=drain)
    supervisor: Supervisor | DynamicSupervisor
    supervisor = DynamicSupervisor(name="root") if is_dynamic else Supervisor([spec], name="root")
    async with running(supervisor):
        if isinstance(supervisor, DynamicSupervisor):
            await supervisor.start_child(spec)
        await wait_all_tasks_blocked()
        await supervisor.renew_child("a")
        assert drained == [2.0]
        (child,) = supervisor.which_children()
        assert child.state is State.RUNNING


@both
async def test_a_start_that_fails_is_tried_again(
    autojump_clock: MockClock, is_dynamic: bool
) -> None:
    """The caller has the error; the child comes back by itself, counted as after a crash."""
    stage = Stage()
    supervisor = await supervisor_with(stage, "a", is_dynamic=is_dynamic, intensity=ONE_RESTART)
    async with running(supervisor):
        await fill(supervisor, stage, "a")
        stage.plans["a"].append("fail")
        with pytest.raises(StartFailed) as caught:
            await supervisor.renew_child("a")
        assert isinstance(caught.value.__cause__, Boom)
        await wait_all_tasks_blocked()
        (node,) = supervisor.tree().children
        assert (node.state, node.crashes) == (State.RUNNING, 1)
        assert node.supervisor is None
        facts = supervisor.tree().supervisor
        assert facts is not None
        assert facts.restarts_left == 0


@both
async def test_refusals(autojump_clock: MockClock, is_dynamic: bool) -> None:
    """A child that is not there, one that would not come back, one that is at it already."""
    stage = Stage()
    supervisor = await supervisor_with(stage, "a", is_dynamic=is_dynamic)
    async with running(supervisor):
        await fill(supervisor, stage, "a")
        await supervisor.start_child(stage.spec("brief", restart=Restart.TEMPORARY))
        with pytest.raises(NotFound):
            await supervisor.renew_child("x")
        with pytest.raises(BadSpec):
            await supervisor.renew_child("brief")
        assert stage.take_log() == ["+brief"]
    with pytest.raises(NotRunning):
        await supervisor.renew_child("a")


async def test_a_stopped_child_is_refused(autojump_clock: MockClock) -> None:
    """It is `restart_child` that starts one."""
    stage = Stage()
    root = Supervisor([stage.spec("a")], name="root")
    async with running(root):
        await root.terminate_child("a")
        with pytest.raises(NotRunning):
            await root.renew_child("a")


async def test_the_strategy_decides_who_goes_along(autojump_clock: MockClock) -> None:
    """As after a crash: in reverse down, in order up."""
    stage = Stage()
    specs = [stage.spec(child) for child in "abc"]
    root = Supervisor(specs, name="root", strategy=Strategy.REST_FOR_ONE, intensity=NO_RESTART)
    async with running(root):
        stage.take_log()
        await root.renew_child("b")
        assert stage.take_log() == ["-c", "-b", "+b", "+c"]


async def test_a_second_call_is_refused(autojump_clock: MockClock) -> None:
    """Of a dynamic supervisor, whose calls do not queue up."""
    release = trio.Event()

    async def slow_to_end() -> None:
        request = stop_request()
        await request.wait()
        await release.wait()

    supervisor = DynamicSupervisor(name="root")
    async with running(supervisor), trio.open_nursery() as nursery:
        await supervisor.start_child(ChildSpec(id="a", start=slow_to_end))
        await wait_all_tasks_blocked()
        nursery.start_soon(supervisor.renew_child, "a")
        await wait_all_tasks_blocked()
        with pytest.raises(Restarting):
            await supervisor.renew_child("a")
        release.set()


async def test_a_terminate_meanwhile_wins(autojump_clock: MockClock) -> None:
    """Somebody wants it gone: the renewal says that it did not come back."""

    async def slow_to_end() -> None:
        request = stop_request()
        await request.wait()
        await trio.sleep(1)

    supervisor = DynamicSupervisor(name="root")
    async with running(supervisor), trio.open_nursery() as nursery:
        await supervisor.start_child(ChildSpec(id="a", start=slow_to_end))
        await wait_all_tasks_blocked()

        async def terminate() -> None:
            await trio.sleep(0.5)
            await supervisor.terminate_child("a")

        nursery.start_soon(terminate)
        with pytest.raises(NotRunning):
            await supervisor.renew_child("a")
        assert supervisor.which_children() == ()


@both
async def test_a_caller_who_leaves_does_not_stop_it(
    autojump_clock: MockClock, is_dynamic: bool
) -> None:
    """Once begun it is carried through."""
    starts: list[float] = []

    async def slow_to_end() -> None:
        starts.append(trio.current_time())
        request = stop_request()
        await request.wait()
        await trio.sleep(1)

    spec = ChildSpec(id="a", start=slow_to_end)
    supervisor: Supervisor | DynamicSupervisor
    supervisor = DynamicSupervisor(name="root") if is_dynamic else Supervisor([spec], name="root")
    async with running(supervisor):
        if isinstance(supervisor, DynamicSupervisor):
            await supervisor.start_child(spec)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await supervisor.renew_child("a")
        await trio.sleep(5)
        assert starts == [0.0, 1.0]
