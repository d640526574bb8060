"""Probing a container in its time, whatever the container and the probe do meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from services.containerd import TaskStatus
from services.containers.config import HealthConfig
from services.containers.container import Container
from services.containers.execs.exec import ExecConfig
from services.containers.health.rules import Health, HealthStatus
from services.containers.health.watching import FATE_S, KILLED_END_S, HealthWatcher
from services.containers.model import State
from services.containers.stdio import Stream
from services.errors import Conflict, EngineError, NotFound
from tests.services.containers.support import MemoryJournal, container

S = 10**9
Clock = trio.testing.MockClock


class FakeOutput:
    """An attached session that gets its blocks at once, and its end when the exec ends."""

    def __init__(self, blocks: list[bytes], ended: trio.Event) -> None:
        self._blocks, self._ended = list(blocks), ended

    async def receive(self) -> tuple[Stream, bytes]:
        await trio.lowlevel.checkpoint()
        if self._blocks:
            return Stream.STDOUT, self._blocks.pop(0)
        await self._ended.wait()
        raise trio.EndOfChannel


@dataclass
class Plan:
    """What a probe will do. Of one that cannot be killed nothing is heard."""

    code: int = 0
    lasts_s: float = 0.25
    starts_in_s: float = 0.0
    output: list[bytes] = field(default_factory=list)
    error: EngineError | None = None
    is_unkillable: bool = False


class FakeExec:
    """One probe, which ends as planned, or when nobody wants it."""

    def __init__(self, plan: Plan, config: ExecConfig) -> None:
        self.plan, self.config = plan, config
        self.stdio = self
        self.ended, self.unwanted = trio.Event(), trio.Event()
        self.exit_code: int | None = None

    @asynccontextmanager
    async def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> AsyncIterator[FakeOutput]:
        assert (stdin, stdout, stderr) == (False, True, True)
        yield FakeOutput(self.plan.output, self.ended)

    async def run(self) -> None:
        code = 137
        with trio.move_on_after(self.plan.lasts_s):
            await self.unwanted.wait()
        if not self.unwanted.is_set():
            code = self.plan.code
        elif self.plan.is_unkillable:
            await trio.sleep(1000)
        self.exit_code = code
        self.ended.set()


class Scene:
    """One container, its watcher, and what the probes are to do; without a plan they succeed."""

    def __init__(self, subject: Container, nursery: trio.Nursery, *plans: Plan) -> None:
        self.container, self.plans = subject, list(plans)
        self.journal = MemoryJournal()
        self.nursery = nursery
        self.started: list[float] = []
        self.execs: list[FakeExec] = []
        self.forgotten: list[FakeExec] = []
        self.task_status: TaskStatus | None = TaskStatus.RUNNING
        self.ended_at: list[float] = []
        self.is_endless = False
        watcher = HealthWatcher(
            containerd=cast(Any, self),
            journal=self.journal,
            execs=cast(Any, self),
            end=self.end,
            wall_clock_ns=now_ns,
        )
        watch = watcher.watch_of(subject)
        assert watch is not None
        nursery.start_soon(watch, subject)

    # what the watcher needs of execs and tasks

    async def end(self, container: Container) -> None:
        assert container.status.failed_health  # it is on disk by then
        self.ended_at.append(trio.current_time())
        if not self.is_endless:
            self.become(State.RESTARTING)

    async def create(self, container: Container, config: ExecConfig, *, is_probe: bool) -> FakeExec:
        assert is_probe
        self.execs.append(FakeExec(self.plans.pop(0) if self.plans else Plan(), config))
        self.started.append(trio.current_time())
        return self.execs[-1]

    async def start(self, exec_: FakeExec) -> None:
        await trio.sleep(exec_.plan.starts_in_s)
        if exec_.plan.error is not None:
            raise exec_.plan.error
        self.nursery.start_soon(exec_.run)

    def forget_one(self, exec_: FakeExec) -> None:
        self.forgotten.append(exec_)

    @property
    def tasks(self) -> Scene:
        return self

    async def get(self, id: str) -> _Info:
        if self.task_status is None:
            raise NotFound("no running task found")
        return _Info(self.task_status)

    # what tests look at and do

    @property
    def health(self) -> Health:
        assert self.container.health is not None
        return self.container.health

    def is_(self, status: HealthStatus) -> bool:
        return self.health.status is status

    def become(self, state: State, **changes: Any) -> None:
        status = msgspec.structs.replace(self.container.status, state=state, **changes)
        self.container.replace(status=status)


@dataclass
class _Info:
    status: TaskStatus


def now_ns() -> int:
    """The virtual clock as the wall clock: the epoch is its zero."""
    return int(trio.current_time() * S)


def subject(
    state: State = State.RUNNING,
    *,
    restart: str = "",
    labels: dict[str, str] | None = None,
    **options: Any,
) -> Container:
    options = {"interval": 10 * S, "timeout": 5 * S, "retries": 2, **options}
    check = HealthConfig(test=["CMD", "probe"], **options)
    made = container(state, healthcheck=check, restart=restart, labels=labels or {})
    made.replace(status=msgspec.structs.replace(made.status, started_at_ns=now_ns()))
    return made


@asynccontextmanager
async def watched(subject: Container, *plans: Plan) -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        scene = Scene(subject, nursery, *plans)
        await trio.testing.wait_all_tasks_blocked()
        yield scene
        nursery.cancel_scope.cancel()


async def test_only_a_container_with_a_check_is_watched() -> None:
    """Nothing stands in the tree of the others."""
    watcher = HealthWatcher(
        containerd=cast(Any, None),
        journal=MemoryJournal(),
        execs=cast(Any, None),
        end=cast(Any, None),
    )
    assert watcher.watch_of(container()) is None
    none = container(healthcheck=HealthConfig(test=["NONE"]))
    assert watcher.watch_of(none) is None


async def test_probes_are_an_interval_apart(autojump_clock: Clock) -> None:
    """From the end of one to the start of the next; the first comes an interval after the start."""
    async with watched(subject()) as scene:
        assert scene.is_(HealthStatus.STARTING)
        assert scene.journal.actions == []
        await trio.sleep(35)
        assert [round(at - scene.started[0], 3) for at in scene.started] == [0, 10.25, 20.5]
        assert scene.is_(HealthStatus.HEALTHY)
        assert scene.journal.actions == ["health_status: healthy"]
        assert len(scene.forgotten) == 3
        config = scene.execs[0].config
        assert (config.cmd, config.attach_stdout, config.attach_stderr) == (["probe"], True, True)
        assert not any(exec_.unwanted.is_set() for exec_ in scene.execs)


async def test_failures_in_a_row_make_it_unhealthy_and_a_success_heals(
    autojump_clock: Clock,
) -> None:
    """Each change is told once."""
    codes = (0, 1, 0, 1, 1, 1, 0)
    async with watched(subject(), *(Plan(code=code) for code in codes)) as scene:
        await trio.sleep(75)
        actions = [action.removeprefix("health_status: ") for action in scene.journal.actions]
        assert actions == ["healthy", "unhealthy", "healthy"]
        assert [entry.exit_code for entry in scene.health.log] == [0, 1, 1, 1, 0]
        entry = scene.health.log[-1]
        assert entry.ended_at_ns - entry.started_at_ns == S // 4


async def test_what_the_probe_says_is_kept(autojump_clock: Clock) -> None:
    """Both streams in the order in which they came."""
    async with watched(subject(), Plan(code=1, output=[b"not ", b"now"])) as scene:
        await trio.sleep(11)
        assert scene.health.log[0].output == "not now"


async def test_a_probe_that_takes_too_long_is_killed(autojump_clock: Clock) -> None:
    """Its result is -1 with dockerd's text; the time of its start does not count."""
    plan = Plan(lasts_s=100, starts_in_s=3, output=[b"hm"])
    async with watched(subject(), plan) as scene:
        await trio.sleep(17.9)
        assert not scene.execs[0].unwanted.is_set()
        await trio.sleep(0.2)
        assert scene.execs[0].unwanted.is_set()
        (entry,) = scene.health.log
        assert entry.exit_code == -1
        assert entry.output == "Health check exceeded timeout (5s): hm"


async def test_probes_that_cannot_be_killed_do_not_pile_up(autojump_clock: Clock) -> None:
    """The failure is recorded; the next probe waits until this one is gone."""
    async with watched(subject(), Plan(lasts_s=9999, is_unkillable=True)) as scene:
        await trio.sleep(10 + 5 + KILLED_END_S + 2)
        assert [entry.exit_code for entry in scene.health.log] == [-1]
        await trio.sleep(900)
        assert len(scene.execs) == 1
        await trio.sleep(200)
        assert len(scene.execs) > 1


async def test_a_probe_that_cannot_be_run_has_failed(autojump_clock: Clock) -> None:
    """What kept it from running is its output."""
    async with watched(subject(), Plan(error=EngineError("exec: no such file"))) as scene:
        await trio.sleep(11)
        (entry,) = scene.health.log
        assert (entry.exit_code, entry.output) == (-1, "exec: no such file")
        assert scene.forgotten == scene.execs


async def test_failures_while_it_starts_do_not_count(autojump_clock: Clock) -> None:
    """In the start period probes come at the start interval; after it as ever."""
    checked = subject(start_period=25 * S, start_interval=4 * S)
    async with watched(checked, *[Plan(code=1)] * 20) as scene:
        await trio.sleep(25)
        assert len(scene.started) == 5
        assert (scene.health.status, scene.health.failing_streak) == (HealthStatus.STARTING, 0)
        await trio.sleep(25)
        assert scene.is_(HealthStatus.UNHEALTHY)


async def test_the_start_period_ends_with_the_first_success(autojump_clock: Clock) -> None:
    """A failure after it counts, and the usual interval holds."""
    checked = subject(start_period=1000 * S, start_interval=1 * S, retries=1)
    async with watched(checked, Plan(), Plan(code=1)) as scene:
        await trio.sleep(5)
        assert len(scene.started) == 1
        await trio.sleep(10)
        assert scene.is_(HealthStatus.UNHEALTHY)


async def test_the_start_period_counts_from_the_containers_start(autojump_clock: Clock) -> None:
    """Also for an engine that adopts it later."""
    await trio.sleep(100)
    checked = subject(start_period=50 * S, start_interval=4 * S, retries=1)
    changed = msgspec.structs.replace(checked.status, started_at_ns=now_ns() - 45 * S)
    checked.replace(status=changed)
    async with watched(checked, Plan(code=1), Plan(code=1)) as scene:
        await trio.sleep(5.5)
        assert (scene.health.status, len(scene.started)) == (HealthStatus.STARTING, 1)
        await trio.sleep(11)
        assert scene.is_(HealthStatus.UNHEALTHY)


async def test_a_paused_container_is_not_probed(autojump_clock: Clock) -> None:
    """It is unhealthy without an event, as under dockerd; its probe is given up."""
    async with watched(subject(), Plan(), Plan(lasts_s=100)) as scene:
        await trio.sleep(21)
        scene.become(State.PAUSED)
        await trio.sleep(300)
        assert scene.execs[1].unwanted.is_set()
        assert len(scene.execs) == 2
        assert scene.is_(HealthStatus.UNHEALTHY)
        assert len(scene.health.log) == 1
        scene.become(State.RUNNING)
        await trio.sleep(9)
        assert scene.is_(HealthStatus.UNHEALTHY)
        await trio.sleep(2)
        assert scene.is_(HealthStatus.HEALTHY)
        assert scene.journal.actions == ["health_status: healthy"] * 2


async def test_each_start_begins_anew(autojump_clock: Clock) -> None:
    """A restart by the policy has no failures to begin with; earlier results can still be read."""
    async with watched(subject(), *[Plan(code=1)] * 3) as scene:
        await trio.sleep(11)
        scene.become(State.RESTARTING)
        await trio.sleep(1)
        assert (scene.health.status, scene.health.failing_streak) == (HealthStatus.UNHEALTHY, 1)
        scene.become(State.RUNNING, started_at_ns=now_ns())
        await trio.testing.wait_all_tasks_blocked()
        assert (scene.health.status, scene.health.failing_streak) == (HealthStatus.STARTING, 0)
        assert len(scene.health.log) == 1
        await trio.sleep(11)
        assert scene.health.failing_streak == 1


async def test_a_quick_restart_is_not_missed(autojump_clock: Clock) -> None:
    """Another start time is another run, also if nobody saw it end."""
    async with watched(subject(), Plan(lasts_s=100)) as scene:
        await trio.sleep(11)
        scene.become(State.EXITED)
        scene.become(State.RUNNING, started_at_ns=now_ns())
        await trio.testing.wait_all_tasks_blocked()
        assert scene.execs[0].unwanted.is_set()
        assert scene.is_(HealthStatus.STARTING)
        assert scene.health.run_at_ns == now_ns()
        assert scene.health.log == ()


async def test_a_probe_that_dies_with_its_container_says_nothing(autojump_clock: Clock) -> None:
    """Its end is heard of before the container's; neither counts as a failure."""
    gone = Conflict("container is not running")
    for plan in (Plan(code=137), Plan(error=gone)):
        async with watched(subject(retries=1), plan) as scene:
            await trio.sleep(10.26)
            scene.task_status = TaskStatus.STOPPED
            await trio.sleep(FATE_S + 1)
            if plan.error is None:
                assert scene.health.log == ()
                assert scene.journal.actions == []
            scene.become(State.EXITED)
            await trio.sleep(1)
            assert scene.is_(HealthStatus.UNHEALTHY)


async def test_no_task_is_no_failure(autojump_clock: Clock) -> None:
    """The record of the exit is on its way."""
    async with watched(subject(retries=1), Plan(error=Conflict("not running"))) as scene:
        scene.task_status = None
        await trio.sleep(60)
        assert scene.health.log == ()
        assert len(scene.execs) == 1


async def test_a_watch_that_begins_anew_goes_on(autojump_clock: Clock) -> None:
    """After a failure of its own the health of this run is still known."""
    checked = subject()
    async with watched(checked, Plan()):
        await trio.sleep(11)
    assert checked.health is not None
    assert checked.health.status is HealthStatus.HEALTHY
    async with watched(checked, Plan()) as scene:
        assert scene.is_(HealthStatus.HEALTHY)
        assert len(scene.health.log) == 1


async def test_what_is_not_probed_any_more_is_ended(autojump_clock: Clock) -> None:
    """The engine ends and the container goes on: the probe does not."""
    async with watched(subject(), Plan(lasts_s=100)) as scene:
        await trio.sleep(12)
    assert scene.execs[0].unwanted.is_set()


RESTARTS = {"io.wharfinger.unhealthy": "restart"}


@pytest.mark.parametrize(
    ("restart", "labels", "is_ended"),
    [
        ("always", RESTARTS, True),
        ("on-failure", RESTARTS, True),
        ("unless-stopped", RESTARTS, True),
        ("no", RESTARTS, False),
        ("", RESTARTS, False),
        ("always", {}, False),
        ("always", {"io.wharfinger.unhealthy": "ignore"}, False),
        ("always", {"io.wharfinger.unhealthy": "what"}, False),
    ],
)
async def test_an_unhealthy_container_is_ended_if_it_will_come_back(
    restart: str, labels: dict[str, str], is_ended: bool, autojump_clock: Clock
) -> None:
    """By its label and its policy; the event comes before."""
    checked = subject(retries=1, restart=restart, labels=labels)
    async with watched(checked, Plan(code=1)) as scene:
        await trio.sleep(11)
        assert scene.ended_at == ([10.25] if is_ended else [])
        assert checked.status.failed_health is is_ended
        assert scene.journal.actions == ["health_status: unhealthy"]


async def test_it_is_not_ended_before_it_is_unhealthy(autojump_clock: Clock) -> None:
    """Nor when somebody has stopped it."""
    checked = subject(restart="always", labels=RESTARTS)
    async with watched(checked, Plan(code=1), Plan()) as scene:
        await trio.sleep(25)
        assert scene.ended_at == []
    stopped = subject(retries=1, restart="unless-stopped", labels=RESTARTS)
    stopped.replace(status=msgspec.structs.replace(stopped.status, stopped_by_user=True))
    async with watched(stopped, Plan(code=1)) as scene:
        await trio.sleep(15)
        assert scene.ended_at == []


async def test_one_that_did_not_end_is_ended_again(autojump_clock: Clock) -> None:
    """With the next probe that fails: its shim may have been stuck."""
    checked = subject(retries=1, restart="always", labels=RESTARTS)
    async with watched(checked, Plan(code=1), Plan(code=1), Plan()) as scene:
        scene.is_endless = True
        await trio.sleep(45)
        assert scene.ended_at == [10.25, 20.5]


async def test_an_end_that_a_killed_engine_began_is_finished(autojump_clock: Clock) -> None:
    """Before anything is probed."""
    checked = subject(restart="on-failure", labels=RESTARTS)
    checked.replace(status=msgspec.structs.replace(checked.status, failed_health=True))
    async with watched(checked) as scene:
        await trio.sleep(1)
        assert (len(scene.ended_at), scene.execs) == (1, [])
