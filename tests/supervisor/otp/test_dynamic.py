"""DynamicSupervisor: children that come, go and are restarted, each for itself."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    AlreadyStarted,
    Backoff,
    BadSpec,
    ChildCounts,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    MaxChildren,
    NotFound,
    NotRunning,
    ReportKind,
    Restart,
    StartTimeout,
    State,
    Supervisor,
    TooManyRestarts,
    stop_request,
)
from tests.supervisor.otp.stage import Boom, Stage, running

OFTEN = Intensity(max_restarts=100)


def ids(supervisor: DynamicSupervisor) -> list[str]:
    """The children that it has."""
    return [child.id for child in supervisor.which_children()]


class TestStartChild:
    async def test_returns_the_value(self, autojump_clock: MockClock) -> None:
        """What the child passed to started() comes back."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            assert await supervisor.start_child(stage.spec("a")) == "a"

    async def test_slow_start_holds_up_nobody(self, autojump_clock: MockClock) -> None:
        """Children start beside one another."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor), trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.start_child, ChildSpec(id="slow", start=never_ready))
            await wait_all_tasks_blocked()
            await supervisor.start_child(stage.spec("a"))
            assert trio.current_time() == 0
            nursery.cancel_scope.cancel()

    async def test_refusals(self, autojump_clock: MockClock) -> None:
        """A second child of an id, one too many, a significant one."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root", max_children=1)
        significant = stage.spec("s", restart=Restart.TEMPORARY, significant=True)
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a"))
            with pytest.raises(AlreadyStarted):
                await supervisor.start_child(stage.spec("a"))
            with pytest.raises(MaxChildren):
                await supervisor.start_child(stage.spec("b"))
            with pytest.raises(BadSpec):
                await supervisor.start_child(significant)

    async def test_failure_is_the_callers(self, autojump_clock: MockClock) -> None:
        """The child's own error is raised; nothing stays, nothing is counted."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root", intensity=Intensity(max_restarts=0))
        async with running(supervisor) as run:
            stage.plans["a"].append("fail")
            with pytest.raises(Boom):
                await supervisor.start_child(stage.spec("a"))
            assert ids(supervisor) == []
            assert run.error is None

    async def test_ignore_is_forgotten(self, autojump_clock: MockClock) -> None:
        """A child that ignores gives None and is not kept."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            stage.plans["a"].append("ignore")
            assert await supervisor.start_child(stage.spec("a")) is None
            assert ids(supervisor) == []

    async def test_cancelled_caller_cancels_the_child(self, autojump_clock: MockClock) -> None:
        """A start whose caller gives up leaves nothing behind."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            with trio.move_on_after(2):
                await supervisor.start_child(ChildSpec(id="slow", start=never_ready))
            await wait_all_tasks_blocked()
            assert ids(supervisor) == []

    async def test_caller_cancelled_before_the_child_ran(self, autojump_clock: MockClock) -> None:
        """A caller that is cancelled already starts nothing."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            with trio.CancelScope() as scope:
                scope.cancel()
                await supervisor.start_child(stage.spec("a"))
            await wait_all_tasks_blocked()
            assert stage.log == []

    async def test_caller_cancelled_as_the_child_gets_ready(
        self, autojump_clock: MockClock
    ) -> None:
        """Ready and cancelled in one moment: the caller has its answer, or the child is gone."""
        for _ in range(30):  # the scheduler orders the two at random
            supervisor = DynamicSupervisor(name="root")
            async with running(supervisor):
                value = None
                with trio.move_on_after(5):
                    value = await supervisor.start_child(ChildSpec(id="a", start=ready_after_5))
                await wait_all_tasks_blocked()
                assert (value is None) == (ids(supervisor) == [])

    async def test_supervisor_that_stops_answers(self, autojump_clock: MockClock) -> None:
        """A caller whose child is starting when the supervisor stops gets NotRunning."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor), trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(NotRunning):
                    await supervisor.start_child(ChildSpec(id="slow", start=never_ready))

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            supervisor.stop()
        with pytest.raises(NotRunning):
            await supervisor.start_child(ChildSpec(id="slow", start=never_ready))

    async def test_start_limit(self, autojump_clock: MockClock) -> None:
        """A child that is not ready in time fails its start."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            with pytest.raises(StartTimeout):
                await supervisor.start_child(
                    ChildSpec(id="slow", start=never_ready, start_limit_s=3.0)
                )
            assert trio.current_time() == 3


class TestTerminateChild:
    async def test_stops_and_forgets(self, autojump_clock: MockClock) -> None:
        """The call returns when the child has ended; its id is free."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a"))
            await supervisor.terminate_child("a")
            assert stage.log == ["+a", "-a"]
            assert ids(supervisor) == []
            await supervisor.start_child(stage.spec("a"))

    async def test_unknown(self, autojump_clock: MockClock) -> None:
        """NotFound."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            with pytest.raises(NotFound):
                await supervisor.terminate_child("a")

    async def test_twice_at_once(self, autojump_clock: MockClock) -> None:
        """Both callers wait for the end."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(ChildSpec(id="a", start=drain_2))
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.terminate_child, "a")
                nursery.start_soon(supervisor.terminate_child, "a")
            assert trio.current_time() == 2

    async def test_carried_through_without_its_caller(self, autojump_clock: MockClock) -> None:
        """The child ends even if the caller is cancelled."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(ChildSpec(id="a", start=drain_2))
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await supervisor.terminate_child("a")
            assert ids(supervisor) == ["a"]
            await trio.sleep(2)
            assert ids(supervisor) == []

    async def test_ends_a_backoff(self, autojump_clock: MockClock) -> None:
        """A child that waits for its restart is forgotten."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a", backoff=Backoff(first_s=9.0)))
            await stage.tell("a", "crash")
            assert supervisor.which_children()[0].state is State.RESTARTING
            await supervisor.terminate_child("a")
            await trio.sleep(20)
            assert stage.log == ["+a", "xa"]

    async def test_stuck_child_is_reported(self, autojump_clock: MockClock) -> None:
        """Once a second from its limit on, though nobody waits for it."""

        async def start() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5.5)

        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            with supervisor.subscribe() as reports:
                await supervisor.start_child(ChildSpec(id="a", start=start, shutdown_s=2.0))
                await wait_all_tasks_blocked()
                with trio.move_on_after(0.1):
                    await supervisor.terminate_child("a")
                await trio.sleep(10)
                kinds = [reports.get_nowait().kind for _ in range(4)]
        assert kinds == [ReportKind.PROGRESS] + [ReportKind.STUCK] * 3


class TestRestarts:
    @pytest.mark.parametrize("end", ["crash", "normal", "shutdown"])
    @pytest.mark.parametrize("restart", list(Restart))
    async def test_restart_type_and_end_decide(
        self, autojump_clock: MockClock, restart: Restart, end: str
    ) -> None:
        """As for any supervisor; a child that is not restarted is forgotten."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a", restart=restart))
            await stage.tell("a", end)
            comes_back = restart is Restart.PERMANENT or (
                restart is Restart.TRANSIENT and end == "crash"
            )
            assert stage.log == ["+a", "xa", *(["+a"] if comes_back else [])]
            assert ids(supervisor) == (["a"] if comes_back else [])

    async def test_failed_restart_counts_and_is_tried_again(
        self, autojump_clock: MockClock
    ) -> None:
        """Until the intensity is exceeded, which stops all and ends the supervisor."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root", intensity=Intensity(max_restarts=3))
        async with running(supervisor) as run:
            await supervisor.start_child(stage.spec("a", restart=Restart.TRANSIENT))
            await supervisor.start_child(stage.spec("b"))
            stage.plans["a"].extend(["fail", "fail"])
            await stage.tell("a", "crash")
            assert stage.take_log() == ["+a", "+b", "xa", "!a", "!a", "+a"]
            await stage.tell("b", "crash")
            assert stage.log == ["xb", "-a"]
            assert isinstance(run.error, TooManyRestarts)
            assert isinstance(run.error.__cause__, Boom)

    async def test_ignore_at_a_restart_forgets(self, autojump_clock: MockClock) -> None:
        """A child that ignores when it is restarted is gone."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a"))
            stage.plans["a"].append("ignore")
            await stage.tell("a", "crash")
            assert ids(supervisor) == []

    async def test_stop_overtakes_a_restart_loop(self, autojump_clock: MockClock) -> None:
        """A child that fails to restart again and again can be terminated meanwhile."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root", intensity=Intensity(max_restarts=10**9))
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a"))
            stage.plans["a"].extend(["fail"] * 10_000)
            stage.order("a", "crash")
            while "!a" not in stage.log:
                await trio.lowlevel.checkpoint()
            await supervisor.terminate_child("a")
            assert ids(supervisor) == []
            assert len(stage.plans["a"]) > 9_000

    async def test_backoff(self, autojump_clock: MockClock) -> None:
        """Restarts wait their delays; other children do not."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root", intensity=OFTEN)
        async with running(supervisor):
            await supervisor.start_child(stage.spec("a", backoff=Backoff(first_s=1.0, cap_s=2.0)))
            await supervisor.start_child(stage.spec("b"))
            for delay_s in (1.0, 2.0, 2.0):
                began = trio.current_time()
                await stage.tell("a", "crash")
                await stage.tell("b", "crash")
                await trio.sleep(10)
                assert stage.started_at["a"] - began == delay_s
                assert stage.started_at["b"] == began


class TestStop:
    async def test_children_stop_at_the_same_time(self, autojump_clock: MockClock) -> None:
        """Ten children that drain for 2 s each take 2 s."""
        supervisor = DynamicSupervisor(name="root")
        async with running(supervisor) as run:
            for i in range(10):
                await supervisor.start_child(ChildSpec(id=str(i), start=drain_2))
            await wait_all_tasks_blocked()
            supervisor.stop()
            await trio.sleep(1.9)
            assert not run.has_ended
            await trio.sleep(0.2)
            assert run.has_ended

    async def test_as_a_child(self, autojump_clock: MockClock) -> None:
        """Under another supervisor it is asked to stop, and its children drain."""
        dynamic = DynamicSupervisor(name="dynamic")
        spec = ChildSpec(id="dynamic", start=dynamic.run, type=ChildType.SUPERVISOR)
        outer = Supervisor([spec], name="outer")
        async with running(outer):
            await dynamic.start_child(ChildSpec(id="a", start=drain_2))
            await wait_all_tasks_blocked()
            await outer.terminate_child("dynamic")
            assert trio.current_time() == 2

    async def test_run_again(self, autojump_clock: MockClock) -> None:
        """A second run begins without children."""
        stage = Stage()
        supervisor = DynamicSupervisor(name="root")
        for _ in range(2):
            async with running(supervisor):
                assert ids(supervisor) == []
                await supervisor.start_child(stage.spec("a"))
        assert stage.log == ["+a", "-a"] * 2


async def test_counts_and_specs(autojump_clock: MockClock) -> None:
    """The questions are those of any supervisor."""
    stage = Stage()
    supervisor = DynamicSupervisor(name="root")
    async with running(supervisor):
        spec = stage.spec("a", type=ChildType.SUPERVISOR)
        await supervisor.start_child(spec)
        await supervisor.start_child(stage.spec("b"))
        assert supervisor.get_childspec("a") is spec
        counts = ChildCounts(specs=2, active=2, supervisors=1, workers=1)
        assert supervisor.count_children() == counts


async def test_ten_thousand_children(autojump_clock: MockClock) -> None:
    """Many children start, restart and stop without a task or an entry left over."""
    supervisor = DynamicSupervisor(name="root", intensity=Intensity(max_restarts=10**6))
    crash = trio.Event()

    async def start() -> None:
        await crash.wait()
        if crash is first:
            raise Boom
        await trio.sleep_forever()

    first = crash
    with supervisor.subscribe():
        async with running(supervisor):
            for i in range(10_000):
                await supervisor.start_child(ChildSpec(id=str(i), start=start))
            crash = trio.Event()
            crash.set()
            first.set()
            await wait_all_tasks_blocked()
            assert supervisor.count_children().active == 10_000
    assert supervisor.which_children() == ()


def test_max_children_is_checked() -> None:
    """A negative limit is refused."""
    with pytest.raises(BadSpec):
        DynamicSupervisor(name="root", max_children=-1)


async def never_ready(task_status: trio.TaskStatus[None]) -> None:
    """Starts for ever."""
    await trio.sleep_forever()


async def ready_after_5(task_status: trio.TaskStatus[str]) -> None:
    """Takes 5 s to start."""
    await trio.sleep(5)
    task_status.started("ready")
    await trio.sleep_forever()


async def drain_2() -> None:
    """Takes 2 s to drain."""
    await stop_request().wait()
    await trio.sleep(2)
