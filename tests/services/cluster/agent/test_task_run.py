"""`task_run`: a task's life with work that the test lets succeed, fail or wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import trio
import trio.testing

from services.cluster.agent.errors import Lacking, TaskExit
from services.cluster.agent.task_run import TaskRun
from services.cluster.model.objects import ContainerStatus, Task
from services.cluster.model.specs import PortConfig
from services.cluster.model.task_state import TaskState
from services.errors import EngineError, InvalidParameter, Unavailable
from tests.services.cluster.agent.support import task


async def _at_once() -> None:
    await trio.lowlevel.checkpoint()


@dataclass
class ScriptedWork:
    """Does what the test says, and remembers what was asked of it, and when."""

    steps: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    errors: dict[str, list[EngineError]] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)

    async def _do(self, name: str) -> None:
        self.asked.append((name, trio.current_time()))
        if self.errors.get(name):
            raise self.errors[name].pop(0)
        await self.steps.get(name, _at_once)()

    async def prepare(self, task: Task) -> None:
        await self._do("prepare")

    async def start(self, task: Task) -> None:
        await self._do("start")

    async def follow(self, task: Task) -> None:
        await self._do("follow")

    async def stop(self, task: Task) -> None:
        await self._do("stop")

    async def remove(self, task: Task) -> None:
        await self._do("remove")

    def container_status(self, task: Task) -> ContainerStatus | None:
        return ContainerStatus(container_id="c1", pid=7)

    def port_status(self, task: Task) -> list[PortConfig]:
        return []

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@dataclass
class Scene:
    """A run under way, what was kept, and what was told, in order."""

    run: TaskRun
    work: ScriptedWork
    told: trio.Event
    log: list[tuple[str, Task]]

    @property
    def states(self) -> list[TaskState]:
        return list(dict.fromkeys(one.status.state for word, one in self.log if word == "told"))

    def ask(self, desired: TaskState) -> None:
        self.run.update(msgspec.structs.replace(self.run.task, desired_state=desired))


@asynccontextmanager
async def under_way(work: ScriptedWork, one: Task) -> AsyncIterator[Scene]:
    log: list[tuple[str, Task]] = []
    told = trio.Event()

    async def keep(kept: Task) -> None:
        await trio.lowlevel.checkpoint()
        log.append(("kept", kept))

    run = TaskRun(
        one,
        work=work,
        keep=keep,
        report=lambda reported: log.append(("told", reported)),
        wait_told=told.wait,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Scene(run, work, told, log)
        nursery.cancel_scope.cancel()


async def test_what_is_told_was_kept_before() -> None:
    """The next engine knows whatever the managers know."""
    work = ScriptedWork(steps={"follow": trio.sleep_forever})
    async with under_way(work, task()) as scene:
        pairs = list(zip(scene.log[::2], scene.log[1::2], strict=True))
        assert [(a[0], b[0]) for a, b in pairs] == [("kept", "told")] * 5
        assert all(a[1] == b[1] for a, b in pairs)
        assert scene.states[-1] is TaskState.RUNNING
        assert scene.run.task.status.running_at is not None


async def test_a_stop_overtakes_a_pull(autojump_clock: trio.testing.MockClock) -> None:
    """What prepares is cut short; it never starts."""
    work = ScriptedWork(steps={"prepare": trio.sleep_forever})
    async with under_way(work, task()) as scene:
        scene.ask(TaskState.SHUTDOWN)
        await trio.testing.wait_all_tasks_blocked()
        assert work.names == ["prepare", "stop"]
        assert scene.states[-1] is TaskState.SHUTDOWN


async def test_more_of_the_same_cuts_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A task that is told again, and one that is to go further later, go on with what they do."""
    work = ScriptedWork(steps={"prepare": trio.sleep_forever})
    async with under_way(work, task(desired=TaskState.READY)) as scene:
        scene.ask(TaskState.READY)
        scene.ask(TaskState.RUNNING)
        await trio.testing.wait_all_tasks_blocked()
        assert work.names == ["prepare"]


async def test_what_is_asked_never_becomes_less() -> None:
    """A word that was overtaken by a later one changes nothing."""
    async with under_way(ScriptedWork(), task(desired=TaskState.SHUTDOWN)) as scene:
        scene.ask(TaskState.RUNNING)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.states == [TaskState.SHUTDOWN]


async def test_what_may_pass_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """With a back-off; why it waits is told once, and forgotten when it goes on."""
    away: list[EngineError] = [Unavailable("containerd is away") for _ in range(3)]
    work = ScriptedWork(errors={"start": away}, steps={"follow": trio.sleep_forever})
    async with under_way(work, task()) as scene:
        await trio.sleep(30)
        times = [at for name, at in work.asked if name == "start"]
        gaps = [round(b - a, 2) for a, b in pairwise(times)]
        assert gaps == [0.2, 0.4, 0.8]
        errs = [one.status.err for word, one in scene.log if word == "told"]
        assert errs.count("containerd is away") == 1
        assert scene.run.task.status.err == ""
        assert scene.states[-1] is TaskState.RUNNING


async def test_what_was_lacking_comes(autojump_clock: trio.testing.MockClock) -> None:
    """The next word of the managers is worth a try at once."""
    lacking: list[EngineError] = [Lacking("secret reference x not found")] * 5
    work = ScriptedWork(errors={"prepare": lacking}, steps={"follow": trio.sleep_forever})
    async with under_way(work, task()) as scene:
        await trio.sleep(2.0)
        lacking.clear()
        scene.told.set()
        await trio.testing.wait_all_tasks_blocked()
        assert scene.run.task.status.state is TaskState.RUNNING


async def test_failures() -> None:
    """Rejected before its start, failed afterwards, with the exit's own code."""
    work = ScriptedWork(errors={"prepare": [InvalidParameter("no such mount")]})
    async with under_way(work, task()) as scene:
        assert scene.run.task.status.state is TaskState.REJECTED
        assert scene.run.task.status.err == "no such mount"
        assert scene.run.task.status.message == "preparing"
    work = ScriptedWork(errors={"follow": [TaskExit(3)]})
    async with under_way(work, task()) as scene:
        status = scene.run.task.status
        assert (status.state, status.err) == (TaskState.FAILED, "task: non-zero exit (3)")
        assert status.container == ContainerStatus(container_id="c1", pid=7, exit_code=3)


async def test_removal(autojump_clock: trio.testing.MockClock) -> None:
    """It ends what is under way, is tried until it succeeds, and then the run ends."""
    errors: list[EngineError] = [EngineError("the shim is stuck")]
    work = ScriptedWork(steps={"follow": trio.sleep_forever}, errors={"remove": errors})
    async with under_way(work, task()) as scene:
        scene.run.remove()
        await trio.sleep(5)
        assert work.names == ["prepare", "start", "follow", "remove", "remove"]
    rested = ScriptedWork()
    async with under_way(rested, task(state=TaskState.COMPLETE)) as scene:
        scene.run.remove()
        await trio.testing.wait_all_tasks_blocked()
        assert rested.names == ["remove"]


async def test_it_goes_on_where_it_was() -> None:
    """A run that begins with a later state does not begin anew."""
    work = ScriptedWork(steps={"follow": trio.sleep_forever})
    async with under_way(work, task(state=TaskState.RUNNING)):
        assert work.names == ["follow"]
