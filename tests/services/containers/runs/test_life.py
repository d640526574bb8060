"""The life of a container under the daemon: what an exit leads to."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from services.containerd import TaskExit
from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.journal import container_event
from services.containers.model import State
from services.containers.runs.life import Lives
from services.containers.runs.run import Run
from services.containers.runs.task_exits import LOST_SHIM_EXIT_CODE, UNKNOWN_EXIT_CODE
from services.errors import EngineError
from tests.services.containers.support import FakeContainerd, FakeTasks, MemoryJournal, container


@dataclass
class FakeLauncher:
    """Starts by setting the state; counts."""

    launches: list[float] = field(default_factory=list)
    fails: int = 0
    on_launch: dict[str, Any] = field(default_factory=dict)

    async def launch(self, run: Run) -> None:
        self.launches.append(trio.current_time())
        if self.fails:
            self.fails -= 1
            raise EngineError("no")
        changed = {"state": State.RUNNING, "started_at_ns": int(trio.current_time() * 1e9) + 1}
        status = msgspec.structs.replace(run.container.status, **changed, **self.on_launch)
        run.container.replace(status=status)


@dataclass
class FakeHoldings:
    """Notes what is given back."""

    cleaned: list[str] = field(default_factory=list)

    async def clean_up(self, container: Container) -> None:
        self.cleaned.append(container.id)

    async def release_ports(self, container: Container) -> None:
        """None are held."""


@dataclass
class FakeOomKills:
    """Says the same of each."""

    killed: bool = False

    async def was_killed(self, container: Container, *, exit_code: int) -> bool:
        return self.killed

    def follow(self, container: Container) -> None:
        """Nothing to see."""


class FakeStdio:
    """Drained as soon as the process has exited."""

    def process_exited(self) -> None: ...
    def release(self) -> None: ...
    async def wait_drained(self) -> None: ...
    async def close(self) -> None: ...


class FakeTerminals:
    """One fresh stream object for each run."""

    def streams(self, container: Container) -> FakeStdio:
        return FakeStdio()

    def retire_streams(self, container: Container, streams: object) -> None: ...
    async def drop_streams(self, container: Container, streams: object) -> None: ...


@dataclass
class FakeGroups:
    """A group of one, unless it says otherwise; notes what it is told."""

    lets_restart: bool = True
    told: list[str] = field(default_factory=list)

    async def take_down(self, failed: Container, is_called_off: Callable[[], bool]) -> bool:
        self.told.append(f"down, called off: {is_called_off()}")
        return self.lets_restart

    def bring_up(self, container: Container) -> None:
        self.told.append("up")


class OneRun(Run):
    """A run without a supervisor: its pump needs none."""

    async def renew_streams(self, stdio: Any) -> None:
        self.stdio, self.is_cleaned_up = stdio, False


class Scene:
    """One container and all that its life touches."""

    def __init__(self, subject: Container, tasks: FakeTasks) -> None:
        self.container = subject
        self.journal = MemoryJournal()
        self.launcher = FakeLauncher()
        self.holdings = FakeHoldings()
        self.oom_kills = FakeOomKills()
        self.containerd = FakeContainerd(tasks=tasks)
        self.groups = FakeGroups()
        self.removed: list[str] = []
        self.remove: Callable[[Container], Awaitable[None]] = self._note_removed
        self.run = OneRun(subject, cast(Any, FakeStdio()))

    async def _note_removed(self, container: Container) -> None:
        self.removed.append(container.id)

    async def live(self) -> None:
        lives = Lives(
            containerd=cast(Any, self.containerd),
            journal=cast(Any, self.journal),
            launcher=self.launcher,
            holdings=self.holdings,
            oom_kills=self.oom_kills,
            stopper=cast(Any, None),
            runs=cast(Any, None),
            health=cast(Any, None),
            groups=self.groups,
            terminals=cast(Any, FakeTerminals()),
            auto_remove=self.remove,
            outlives=lambda: False,
            chance=lambda: 1.0,
        )
        await lives.live(self.run, trio.TASK_STATUS_IGNORED)


def exits(*codes: int) -> FakeTasks:
    return FakeTasks(exits=[TaskExit(code=code, exited_at_ns=10**9) for code in codes])


async def test_an_exit_is_recorded_told_and_cleaned_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Code and time are containerd's; the run's addresses go to the clean-up."""
    subject = container(State.RUNNING)
    address = EndpointSettings(ip_address="10.0.0.2", network_id="n")
    subject.replace(status=msgspec.structs.replace(subject.status, networks={"bridge": address}))
    scene = Scene(subject, exits(3))
    waiter = subject.waiter("next-exit")
    await scene.live()
    assert (await waiter.wait()).code == 3
    assert (subject.state, subject.status.exit_code) == (State.EXITED, 3)
    assert subject.status.finished_at_ns == 10**9
    assert subject.status.networks == {}
    assert scene.holdings.cleaned == [scene.run.container.id]
    assert scene.journal.actions == ["die", "disconnect"]


async def test_an_exit_that_was_not_heard_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever knows better has the question put once more; the answer then is the exit."""
    subject = container(State.RUNNING)
    scene = Scene(subject, exits(4))
    tasks, first = scene.containerd.tasks, trio.Event()
    ask = tasks.wait

    async def wait(container_id: str) -> TaskExit:
        if not first.is_set():
            first.set()
            await trio.sleep_forever()
        return await ask(container_id)

    cast(Any, tasks).wait = wait
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.live)
        await first.wait()
        await trio.sleep(100)
        assert subject.state is State.RUNNING
        scene.run.ask_again()
    assert (subject.state, subject.status.exit_code) == (State.EXITED, 4)


async def test_what_runs_is_adopted_what_does_not_is_launched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A running container is never launched a second time."""
    for state, launches in ((State.RUNNING, 0), (State.CREATED, 1), (State.EXITED, 1)):
        scene = Scene(container(state), exits(0))
        await scene.live()
        assert len(scene.launcher.launches) == launches


async def test_a_part_that_begins_anew_after_the_exit_launches_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A crash in the clean-up must not bring the container back to life; what is held is freed."""
    scene = Scene(container(State.EXITED), exits(0))
    scene.run.was_launched = True
    scene.run.holds = True
    await scene.live()
    assert scene.launcher.launches == []
    assert scene.holdings.cleaned == [scene.run.container.id]


async def test_a_removal_that_fails_does_not_bring_it_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """--rm that cannot be obeyed is told in the log; the part ends, and is not tried again."""

    async def fail(container: Container) -> None:
        raise EngineError("busy")

    scene = Scene(container(State.RUNNING, auto_remove=True), exits(0))
    scene.remove = fail
    await scene.live()
    assert scene.launcher.launches == []


async def test_an_absent_containerd_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """Its restart costs no exit code."""
    tasks = exits(5)
    tasks.unavailable = 3
    scene = Scene(container(State.RUNNING), tasks)
    await scene.live()
    assert scene.container.status.exit_code == 5
    assert scene.containerd.connection.waits == 3


async def test_a_task_that_nobody_knows_ended_with_255(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """dockerd's code for what was gone."""
    scene = Scene(container(State.RUNNING), FakeTasks())
    await scene.live()
    assert scene.container.status.exit_code == UNKNOWN_EXIT_CODE


async def test_a_lost_shim_counts_as_killed(autojump_clock: trio.testing.MockClock) -> None:
    """containerd kills what it leaves behind."""

    class Broken(FakeTasks):
        async def wait(self, container_id: str) -> TaskExit:
            raise EngineError("ttrpc: closed")

    scene = Scene(container(State.RUNNING), Broken())
    await scene.live()
    assert scene.container.status.exit_code == LOST_SHIM_EXIT_CODE


async def test_the_policy_restarts_with_growing_delays_until_it_gives_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """on-failure:2 is two restarts, 100 ms and 200 ms after the exits."""
    subject = container(State.RUNNING, restart="on-failure")
    host = subject.definition.host_config
    policy = msgspec.structs.replace(host.restart_policy, maximum_retry_count=2)
    subject.definition = msgspec.structs.replace(
        subject.definition, host_config=msgspec.structs.replace(host, restart_policy=policy)
    )
    scene = Scene(subject, exits(7, 7, 7))
    await scene.live()
    assert subject.state is State.EXITED
    assert subject.status.restart_count == 2
    gaps = [round(at - 1.0 * (n + 1), 3) for n, at in enumerate(scene.launcher.launches)]
    assert gaps == [0.1, 0.3]


async def test_a_restart_is_counted_when_it_is_decided(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As by dockerd: inspect shows it while the container still waits."""
    subject = container(State.RUNNING, restart="always")
    scene = Scene(subject, exits(1))
    counts = []

    async def look() -> None:
        while subject.state is not State.RESTARTING:
            await subject.wait_changed()
        counts.append(subject.status.restart_count)
        scene.run.stop_wanted.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await scene.live()
    assert counts == [1]


async def test_a_start_by_hand_counts_anew(autojump_clock: trio.testing.MockClock) -> None:
    """on-failure:2 has its two restarts again."""
    subject = container(State.EXITED, restart="always")
    subject.replace(status=msgspec.structs.replace(subject.status, restart_count=7))
    scene = Scene(subject, exits(0))
    with trio.move_on_after(0.5):
        await scene.live()
    assert subject.status.restart_count == 0


async def test_labels_set_the_delays(autojump_clock: trio.testing.MockClock) -> None:
    """First, factor and cap; a quarter of each is left to chance, which takes all of it here."""
    labels = {
        "io.wharfinger.restart.first": "4s",
        "io.wharfinger.restart.factor": "3",
        "io.wharfinger.restart.cap": "20s",
        "io.wharfinger.restart.jitter": "0.25",
    }
    subject = container(State.RUNNING, restart="always", labels=labels)
    scene = Scene(subject, exits(1, 1, 1, 1))
    with trio.move_on_after(60):
        await scene.live()
    # Each run lasts a second.
    gaps = [
        round(at - before - 1.0, 3)
        for before, at in itertools.pairwise([0.0, *scene.launcher.launches])
    ]
    assert gaps[:3] == [3.0, 9.0, 15.0]


async def test_labels_that_cannot_be_read_any_more_are_passed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An engine with other rules made the container; it lives all the same."""
    labels = {"io.wharfinger.restart.first": "soon"}
    scene = Scene(container(State.RUNNING, restart="always", labels=labels), exits(1))
    with trio.move_on_after(1.2):
        await scene.live()
    assert [round(at, 3) for at in scene.launcher.launches] == [1.1]


async def test_an_end_for_bad_health_is_a_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever the exit code, which stays what it was."""
    for failed, launches in ((False, 0), (True, 1)):
        subject = container(State.RUNNING, restart="on-failure")
        status = msgspec.structs.replace(subject.status, failed_health=failed)
        subject.replace(status=status)
        scene = Scene(subject, exits(0, 0))
        scene.launcher.on_launch = {"failed_health": False}
        await scene.live()
        assert len(scene.launcher.launches) == launches
        assert subject.status.exit_code == 0


async def test_a_restart_that_fails_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """A launch that did not come about lasted no time, so the delay grows."""
    subject = container(State.RUNNING, restart="always")
    scene = Scene(subject, exits(1))
    scene.launcher.fails = 2
    with trio.move_on_after(60):
        await scene.live()
    assert len(scene.launcher.launches) >= 3


async def test_a_stop_calls_a_delayed_restart_off(autojump_clock: trio.testing.MockClock) -> None:
    """It overtakes the delay, and the container stays exited."""
    subject = container(State.RUNNING, restart="always")
    scene = Scene(subject, exits(1))

    async def stop_while_waiting() -> None:
        while subject.state is not State.RESTARTING:
            await trio.sleep(0.01)
        scene.run.stop_wanted.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_while_waiting)
        await scene.live()
    assert subject.state is State.EXITED
    assert scene.launcher.launches == []


async def test_an_ephemeral_container_is_removed_at_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """--rm."""
    scene = Scene(container(State.RUNNING, auto_remove=True), exits(0))
    await scene.live()
    assert scene.removed == [scene.container.id]


@pytest.mark.parametrize("lets_restart", [True, False])
async def test_a_group_is_told_of_a_failure_and_of_the_restart(
    autojump_clock: trio.testing.MockClock, lets_restart: bool
) -> None:
    """Before the restart and after it; a group that is down keeps its member down."""
    scene = Scene(container(State.RUNNING, restart="on-failure"), exits(1, 0))
    scene.groups.lets_restart = lets_restart
    await scene.live()
    assert scene.groups.told == ["down, called off: False", *(["up"] * lets_restart)]
    assert len(scene.launcher.launches) == int(lets_restart)
    assert scene.container.state is State.EXITED


async def test_an_oom_kill_is_told_apart(autojump_clock: trio.testing.MockClock) -> None:
    """From any other SIGKILL, by the kernel's count."""
    scene = Scene(container(State.RUNNING), exits(137))
    scene.oom_kills.killed = True
    await scene.live()
    assert scene.container.status.oom_killed


@pytest.mark.parametrize("is_told", [False, True])
async def test_a_kill_for_memory_is_told_before_the_end(
    autojump_clock: trio.testing.MockClock, is_told: bool
) -> None:
    """Once, whether containerd has said so in time or not."""
    scene = Scene(container(State.RUNNING), exits(137))
    scene.oom_kills.killed = True
    scene.container.oom_told_run = int(is_told)
    await scene.live()
    assert scene.journal.actions == [*(["oom"] * (not is_told)), "die"]


async def test_a_kill_for_memory_that_an_earlier_daemon_told_is_not_told_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is on disk of which run it told: the next run's is news again."""
    subject = container(State.RUNNING)
    subject.replace(status=msgspec.structs.replace(subject.status, oom_told_run=1))
    for runs, told in ((1, []), (2, ["oom"])):
        status = msgspec.structs.replace(subject.status, runs=runs, state=State.RUNNING)
        scene = Scene(Container(subject.definition, status), exits(137))
        scene.oom_kills.killed = True
        await scene.live()
        assert scene.journal.actions == [*told, "die"]


async def test_an_end_is_told_after_the_signal_that_it_came_of(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Though containerd answers the signal later than the question for the exit."""
    scene = Scene(container(State.RUNNING), exits(137))
    subject = scene.container

    async def kill() -> None:
        with subject.signalling():
            await trio.sleep(2.5)  # the exit comes after one second
            await scene.journal.tell(container_event(subject, "kill"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill)
        await trio.sleep(0.1)
        await scene.live()
    assert scene.journal.actions == ["kill", "die"]


async def test_a_signal_that_hangs_does_not_keep_the_end_from_being_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its order is not worth that."""
    scene = Scene(container(State.RUNNING), exits(137))
    with scene.container.signalling():
        await scene.live()
    assert scene.journal.actions == ["die"]
    assert trio.current_time() < 10
