"""Supervisor: the management calls, their refusals, and callers that go away."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    Backoff,
    BadSpec,
    ChildCounts,
    ChildSpec,
    ChildType,
    Intensity,
    NotFound,
    NotRunning,
    Restart,
    Restarting,
    Running,
    Shutdown,
    State,
    Strategy,
    Supervisor,
    WouldDeadlock,
)
from tests.supervisor.otp.stage import Boom, Stage, running


class TestStartChild:
    async def test_adds_at_the_end_and_returns_the_value(self, autojump_clock: MockClock) -> None:
        """The child is the last in order and what it passed to started() comes back."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            assert await supervisor.start_child(stage.spec("b")) == "b"
            assert [child.id for child in supervisor.which_children()] == ["a", "b"]

    async def test_refuses_a_running_child(self, autojump_clock: MockClock) -> None:
        """A child of that id runs: AlreadyStarted."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            with pytest.raises(AlreadyStarted, match="root: child 'a' is running"):
                await supervisor.start_child(stage.spec("a"))

    async def test_refuses_a_kept_spec(self, autojump_clock: MockClock) -> None:
        """Only the spec of that id is there: AlreadyPresent."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            with pytest.raises(AlreadyPresent):
                await supervisor.start_child(stage.spec("a"))

    async def test_raises_the_childs_own_error_and_forgets_it(
        self, autojump_clock: MockClock
    ) -> None:
        """A failed start is the caller's to handle and no restart."""
        stage = Stage()
        supervisor = Supervisor(name="root", intensity=Intensity(max_restarts=0))
        async with running(supervisor) as run:
            stage.plans["a"].append("fail")
            with pytest.raises(Boom):
                await supervisor.start_child(stage.spec("a"))
            assert supervisor.which_children() == ()
            assert run.error is None

    async def test_ignore_gives_none(self, autojump_clock: MockClock) -> None:
        """A child that ignores is kept unless temporary, and the value is None."""
        stage = Stage()
        supervisor = Supervisor(name="root")
        async with running(supervisor):
            stage.plans["a"].append("ignore")
            stage.plans["t"].append("ignore")
            assert await supervisor.start_child(stage.spec("a")) is None
            assert await supervisor.start_child(stage.spec("t", restart=Restart.TEMPORARY)) is None
            assert [(c.id, c.state) for c in supervisor.which_children()] == [("a", State.STOPPED)]

    async def test_cancelled_caller_calls_the_start_off(self, autojump_clock: MockClock) -> None:
        """A caller that gives up leaves neither a task nor a spec behind."""
        supervisor = Supervisor(name="root")
        async with running(supervisor):
            with trio.move_on_after(2):
                await supervisor.start_child(ChildSpec(id="slow", start=never_ready))
            await wait_all_tasks_blocked()
            assert supervisor.which_children() == ()

    async def test_caller_cancelled_while_queued_withdraws(self, autojump_clock: MockClock) -> None:
        """A call that had not begun when its caller was cancelled is not carried out."""
        stage = Stage()
        supervisor = Supervisor(name="root")
        async with running(supervisor), trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.start_child, ChildSpec(id="slow", start=ready_after_5))
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await supervisor.start_child(stage.spec("a"))
            await trio.sleep(10)
            assert [child.id for child in supervisor.which_children()] == ["slow"]

    async def test_caller_cancelled_as_the_child_gets_ready(
        self, autojump_clock: MockClock
    ) -> None:
        """Ready and cancelled in one moment: the caller has its answer, or the child is gone."""
        for _ in range(30):  # the scheduler orders the two at random
            supervisor = Supervisor(name="root")
            async with running(supervisor):
                value = None
                with trio.move_on_after(5):
                    value = await supervisor.start_child(ChildSpec(id="a", start=ready_after_5))
                await wait_all_tasks_blocked()
                assert (value is None) == (supervisor.which_children() == ())

    async def test_checks_the_spec(self, autojump_clock: MockClock) -> None:
        """A significant child needs a supervisor with auto_shutdown."""
        stage = Stage()
        supervisor = Supervisor(name="root")
        async with running(supervisor):
            spec = stage.spec("a", restart=Restart.TRANSIENT, significant=True)
            with pytest.raises(BadSpec):
                await supervisor.start_child(spec)

    async def test_supervisor_that_stops_answers(self, autojump_clock: MockClock) -> None:
        """A caller whose child is still starting when the supervisor stops gets NotRunning."""
        supervisor = Supervisor(name="root")
        async with running(supervisor), trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(NotRunning):
                    await supervisor.start_child(ChildSpec(id="slow", start=never_ready))

            async def queued() -> None:
                with pytest.raises(NotRunning):
                    await supervisor.terminate_child("slow")

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            nursery.start_soon(queued)
            await wait_all_tasks_blocked()
            supervisor.stop()

    async def test_supervisor_that_is_cancelled_answers(self, autojump_clock: MockClock) -> None:
        """So does one whose scope is cancelled from outside."""
        supervisor = Supervisor(name="root")
        async with running(supervisor) as run, trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(NotRunning):
                    await supervisor.start_child(ChildSpec(id="slow", start=never_ready))

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            run.scope.cancel()

    async def test_before_and_after_the_run(self, autojump_clock: MockClock) -> None:
        """A supervisor that does not run refuses at once."""
        stage = Stage()
        supervisor = Supervisor(name="root")
        with pytest.raises(NotRunning):
            await supervisor.start_child(stage.spec("a"))
        async with running(supervisor):
            pass
        with pytest.raises(NotRunning):
            await supervisor.start_child(stage.spec("a"))

    async def test_from_a_child_that_is_starting(self, autojump_clock: MockClock) -> None:
        """A child may not call a supervisor that waits for it, be it the one above its own."""
        stage = Stage()
        outer = Supervisor(name="outer")

        async def start(task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(WouldDeadlock):
                await outer.start_child(stage.spec("x"))
            task_status.started()
            await trio.sleep_forever()

        inner = Supervisor([ChildSpec(id="deep", start=start)], name="inner")
        async with running(outer):
            await outer.start_child(ChildSpec(id="inner", start=inner.run))
            assert outer.count_children().active == 1


class TestTerminateChild:
    @pytest.mark.parametrize("restart", list(Restart))
    async def test_keeps_the_spec_unless_temporary(
        self, autojump_clock: MockClock, restart: Restart
    ) -> None:
        """The child is stopped and stays so."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a", restart=restart)], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            assert stage.log == ["+a", "-a"]
            kept = [] if restart is Restart.TEMPORARY else [State.STOPPED]
            assert [child.state for child in supervisor.which_children()] == kept

    async def test_stopped_child_is_no_error(self, autojump_clock: MockClock) -> None:
        """Terminating twice is as good as once."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            await supervisor.terminate_child("a")

    async def test_unknown_child(self, autojump_clock: MockClock) -> None:
        """NotFound is also a LookupError."""
        supervisor = Supervisor(name="root")
        async with running(supervisor):
            with pytest.raises(NotFound):
                await supervisor.terminate_child("a")
            with pytest.raises(LookupError):
                supervisor.get_childspec("a")

    async def test_ends_a_backoff(self, autojump_clock: MockClock) -> None:
        """A child that waits for its restart will not be restarted."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a", backoff=Backoff(first_s=5.0))], name="root")
        async with running(supervisor):
            await stage.tell("a", "crash")
            await supervisor.terminate_child("a")
            await trio.sleep(20)
            assert stage.log == ["+a", "xa"]

    async def test_overtakes_a_restart_loop(self, autojump_clock: MockClock) -> None:
        """A child that fails to restart again and again can be terminated meanwhile."""
        stage = Stage()
        supervisor = Supervisor(
            [stage.spec("a")], name="root", intensity=Intensity(max_restarts=10**9)
        )
        async with running(supervisor):
            stage.plans["a"].extend(["fail"] * 10_000)
            stage.order("a", "crash")
            while "!a" not in stage.log:
                await trio.lowlevel.checkpoint()
            await supervisor.terminate_child("a")
            assert len(stage.plans["a"]) > 9_000
            assert supervisor.which_children()[0].state is State.STOPPED

    async def test_does_not_restart_a_child_that_had_just_crashed(
        self, autojump_clock: MockClock
    ) -> None:
        """Its end is void once somebody wants it stopped."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a"), stage.spec("b")], name="root")
        async with running(supervisor), trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.start_child, ChildSpec(id="s", start=ready_after_5))
            await wait_all_tasks_blocked()
            nursery.start_soon(supervisor.terminate_child, "a")
            await wait_all_tasks_blocked()
            stage.order("a", "crash")
            await trio.sleep(10)
            assert stage.log == ["+a", "+b", "xa"]

    async def test_carried_through_without_its_caller(self, autojump_clock: MockClock) -> None:
        """A terminate that has begun ends the child even if the caller is cancelled."""
        supervisor = Supervisor([ChildSpec(id="a", start=slow_to_stop)], name="root")
        async with running(supervisor):
            with trio.move_on_after(1):
                await supervisor.terminate_child("a")
            assert supervisor.which_children()[0].state is State.STOPPING
            await trio.sleep(3)
            assert supervisor.which_children()[0].state is State.STOPPED

    async def test_of_itself(self, autojump_clock: MockClock) -> None:
        """A child may have itself terminated."""
        supervisor = Supervisor(name="root")

        async def start() -> None:
            await supervisor.terminate_child("a")

        async with running(supervisor):
            await supervisor.start_child(ChildSpec(id="a", start=start))
            await wait_all_tasks_blocked()
            assert supervisor.which_children()[0].state is State.STOPPED


class TestRestartChild:
    async def test_starts_in_place(self, autojump_clock: MockClock) -> None:
        """The child runs again, at its place in the order, and no restart is counted."""
        stage = Stage()
        supervisor = Supervisor(
            [stage.spec(i) for i in "ab"], name="r", intensity=Intensity(max_restarts=0)
        )
        async with running(supervisor) as run:
            await supervisor.terminate_child("a")
            assert await supervisor.restart_child("a") == "a"
            assert run.error is None
        assert stage.log == ["+a", "+b", "-a", "+a", "-b", "-a"]

    async def test_refusals(self, autojump_clock: MockClock) -> None:
        """Running, Restarting, NotFound."""
        stage = Stage()
        specs = [stage.spec("a"), stage.spec("b", backoff=Backoff(first_s=9.0))]
        supervisor = Supervisor(specs, name="root")
        async with running(supervisor):
            await stage.tell("b", "crash")
            with pytest.raises(Running):
                await supervisor.restart_child("a")
            with pytest.raises(Restarting):
                await supervisor.restart_child("b")
            with pytest.raises(NotFound):
                await supervisor.restart_child("c")

    async def test_failure_leaves_it_stopped(self, autojump_clock: MockClock) -> None:
        """The child's error is the caller's; it is not tried again."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            stage.plans["a"].append("fail")
            with pytest.raises(Boom):
                await supervisor.restart_child("a")
            assert supervisor.which_children()[0].state is State.STOPPED

    async def test_cancelled_caller_leaves_it_stopped(self, autojump_clock: MockClock) -> None:
        """The start is called off, the spec stays."""
        slow = ChildSpec(id="a", start=ready_after_5)
        supervisor = Supervisor([slow], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            with trio.move_on_after(1):
                await supervisor.restart_child("a")
            await wait_all_tasks_blocked()
            assert supervisor.which_children()[0].state is State.STOPPED
            await supervisor.restart_child("a")


class TestDeleteChild:
    async def test_forgets_a_stopped_child(self, autojump_clock: MockClock) -> None:
        """After it the id is free."""
        stage = Stage()
        supervisor = Supervisor([stage.spec("a")], name="root")
        async with running(supervisor):
            await supervisor.terminate_child("a")
            await supervisor.delete_child("a")
            await supervisor.start_child(stage.spec("a"))

    async def test_refusals(self, autojump_clock: MockClock) -> None:
        """Running, Restarting, NotFound."""
        stage = Stage()
        specs = [stage.spec("a"), stage.spec("b", backoff=Backoff(first_s=9.0))]
        supervisor = Supervisor(specs, name="root")
        async with running(supervisor):
            await stage.tell("b", "crash")
            with pytest.raises(Running):
                await supervisor.delete_child("a")
            with pytest.raises(Restarting):
                await supervisor.delete_child("b")
            with pytest.raises(NotFound):
                await supervisor.delete_child("c")


class TestQuestions:
    async def test_counts(self, autojump_clock: MockClock) -> None:
        """Specs, live ones, supervisors and workers, as OTP counts."""
        stage = Stage()
        inner = Supervisor(name="inner")
        specs = [
            stage.spec("a"),
            stage.spec("b"),
            ChildSpec(id="inner", start=inner.run, type=ChildType.SUPERVISOR),
        ]
        supervisor = Supervisor(specs, name="root")
        async with running(supervisor):
            await supervisor.terminate_child("b")
            assert supervisor.count_children() == ChildCounts(
                specs=3, active=2, supervisors=1, workers=2
            )

    async def test_spec(self, autojump_clock: MockClock) -> None:
        """The spec comes back as it was given."""
        stage = Stage()
        spec = stage.spec("a")
        supervisor = Supervisor([spec], name="root")
        async with running(supervisor):
            assert supervisor.get_childspec("a") is spec

    async def test_answered_during_a_restart(self, autojump_clock: MockClock) -> None:
        """Questions are answered at once, whatever the supervisor is doing."""
        supervisor = Supervisor([ChildSpec(id="a", start=ready_after_5)], name="root")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await wait_all_tasks_blocked()
            assert supervisor.which_children()[0].state is State.STARTING
            supervisor.stop()

    async def test_calls_wait_for_a_restart_in_progress(self, autojump_clock: MockClock) -> None:
        """A call that comes while others restart is carried out after them."""
        stage = Stage()
        slow = ChildSpec(id="slow", start=ready_after_5)
        supervisor = Supervisor(
            [stage.spec("a"), slow], name="root", strategy=Strategy.REST_FOR_ONE
        )
        async with running(supervisor):
            await stage.tell("a", "crash")
            began = trio.current_time()
            await supervisor.terminate_child("a")
            assert trio.current_time() - began == 5
            assert [child.state for child in supervisor.which_children()] == [
                State.STOPPED,
                State.RUNNING,
            ]


class TestAutoShutdown:
    @pytest.mark.parametrize(
        ("auto", "ends", "is_over"),
        [
            (AutoShutdown.ANY_SIGNIFICANT, ["s"], True),
            (AutoShutdown.ANY_SIGNIFICANT, ["w"], False),
            (AutoShutdown.ALL_SIGNIFICANT, ["s"], False),
            (AutoShutdown.ALL_SIGNIFICANT, ["s", "t"], True),
            (AutoShutdown.ALL_SIGNIFICANT, ["t", "s", "w"], True),
        ],
    )
    async def test_when_significant_children_end(
        self, autojump_clock: MockClock, auto: AutoShutdown, ends: list[str], is_over: bool
    ) -> None:
        """Any, or the last, significant child that ends by itself ends the supervisor."""
        stage = Stage()
        specs = [
            stage.spec("w", restart=Restart.TRANSIENT),
            stage.spec("s", restart=Restart.TRANSIENT, significant=True),
            stage.spec("t", restart=Restart.TEMPORARY, significant=True),
        ]
        async with running(Supervisor(specs, name="root", auto_shutdown=auto)) as run:
            for child_id in ends:
                if stage.is_there(child_id):
                    await stage.tell(child_id, "normal")
            assert isinstance(run.error, Shutdown) == is_over
            assert run.has_ended == is_over

    async def test_crash_of_a_significant_transient_restarts_it(
        self, autojump_clock: MockClock
    ) -> None:
        """Only an end that is not followed by a restart counts."""
        stage = Stage()
        specs = [stage.spec("s", restart=Restart.TRANSIENT, significant=True)]
        supervisor = Supervisor(specs, name="root", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        async with running(supervisor) as run:
            await stage.tell("s", "crash")
            assert not run.has_ended

    async def test_terminate_child_does_not_trigger_it(self, autojump_clock: MockClock) -> None:
        """Significant children that are terminated on request do not end the supervisor."""
        stage = Stage()
        specs = [stage.spec("s", restart=Restart.TRANSIENT, significant=True)]
        supervisor = Supervisor(specs, name="root", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        async with running(supervisor) as run:
            await supervisor.terminate_child("s")
            assert not run.has_ended

    async def test_siblings_stop_in_reverse(self, autojump_clock: MockClock) -> None:
        """The others are stopped in good order."""
        stage = Stage()
        specs = [
            stage.spec("a"),
            stage.spec("b"),
            stage.spec("s", restart=Restart.TEMPORARY, significant=True),
        ]
        supervisor = Supervisor(specs, name="root", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        async with running(supervisor):
            await stage.tell("s", "crash")
        assert stage.log == ["+a", "+b", "+s", "xs", "-b", "-a"]


async def never_ready(task_status: trio.TaskStatus[None]) -> None:
    """Starts for ever."""
    await trio.sleep_forever()


async def ready_after_5(task_status: trio.TaskStatus[str]) -> None:
    """Takes 5 s to start."""
    await trio.sleep(5)
    task_status.started("ready")
    await trio.sleep_forever()


async def slow_to_stop() -> None:
    """Takes 2 s to clean up."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
